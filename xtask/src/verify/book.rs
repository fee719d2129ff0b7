//! `cargo verify --book`: the book that `cargo lab book` has made, as a reader has it: from a folder.
//!
//! What its files say is looked at here: each link leads to something, and nothing is loaded from another place. What only a browser sees
//! is asked there: that each page loads nothing but files, what axe finds in both themes, that a narrow window can be read, that the search
//! finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use regex::Regex;
use serde_json::json;

use super::browser::access;
use super::browser::webdriver::{self, Browser};
use super::{Tally, outcome};
use crate::book::FOLDER;
use crate::ui::Ui;

/// What the search must find.
const SEARCHED: &str = "PhantomPinned";

/// A narrow window: a small telephone's.
const NARROW: u32 = 360;

/// The longest that the search may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run(ui: &Ui, project: &Path) -> Result<Tally> {
    let book = project.join(FOLDER);
    ensure!(book.join("index.html").is_file(), "there is no book in {}: make it with `cargo lab book`", book.display());
    let mut tally = Tally::default();
    let mut check = |what: &str, check: &dyn Fn() -> Result<()>| {
        let started = Instant::now();
        let result = check();
        let details = result.as_ref().err().map(|error| format!("  {}", format!("{error:#}").replace('\n', "\n  ")));
        outcome(ui, result.is_ok(), &format!("the book: {what}"), started.elapsed().as_secs_f64(), &details.unwrap_or_default());
        tally.count(result.is_ok());
    };
    let pages = Pages::read(&book)?;
    check("every link leads somewhere", &|| none(pages.broken()));
    check("nothing is loaded from another place", &|| none(pages.loaded_from_elsewhere()));
    check("each notebook is there to download", &|| pages.notebooks(project));

    let Some(driver) = webdriver::find_driver() else {
        ui.say("skip    the book in a browser  (no chromedriver)");
        return Ok(tally);
    };
    let browser = Browser::start(driver)?;
    check("the search finds", &|| search(&browser, &book));
    let axe = access::axe(ui, project)?;
    for name in pages.0.keys().filter(|name| name.ends_with(".html")) {
        check(&format!("{name} in a browser"), &|| page(&browser, &book.join(name), axe.as_deref()));
    }
    Ok(tally)
}

/// The pages by their paths from the book's folder, with slashes.
struct Pages(BTreeMap<String, Page>);

struct Page {
    text: String,
    /// What links may lead to.
    ids: BTreeSet<String>,
}

static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"<[^>]*?\s(?:id|name)="([^"]*)""#).expect("it is a constant"));
static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"<[^>]*?\s(?:href|src)="([^"]*)""#).expect("it is a constant"));
/// What a browser loads without being asked: scripts, pictures, frames, stylesheets; and what a stylesheet names.
static LOADED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?s)<(?:script|img|iframe|source|video|audio|embed|link)\b[^>]*?\s(?:src|href)="((?:https?:)?//[^"]*)"|(?:url\(|@import\s*)['"]?((?:https?:)?//[^'")]*)"#)
        .expect("it is a constant")
});

impl Pages {
    fn read(book: &Path) -> Result<Self> {
        let mut pages = BTreeMap::new();
        for path in files(book)? {
            let is_text = path.extension().is_some_and(|extension| ["html", "css"].iter().any(|known| extension == *known));
            if is_text {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let ids = ID.captures_iter(&text).map(|found| unescaped(&found[1])).collect();
                let name = path.strip_prefix(book)?.to_string_lossy().replace('\\', "/");
                pages.insert(name, Page { text, ids });
            }
        }
        pages.retain(|name, _| !name.starts_with("_static/") || name.ends_with(".css"));
        let book = book.to_owned();
        let known: BTreeSet<String> = files(&book)?
            .iter()
            .filter_map(|path| Some(path.strip_prefix(&book).ok()?.to_string_lossy().replace('\\', "/")))
            .collect();
        for name in known {
            // Files that are no pages: a link may lead to them, and to nothing in them.
            pages.entry(name).or_insert_with(|| Page { text: String::new(), ids: BTreeSet::new() });
        }
        Ok(Self(pages))
    }

    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, page) in self.0.iter().filter(|(name, _)| name.ends_with(".html")) {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            for found in LINK.captures_iter(&page.text) {
                let link = unescaped(&found[1]);
                if link.contains("://") || ["data:", "mailto:", "javascript:"].iter().any(|start| link.starts_with(start)) {
                    continue;
                }
                let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
                let file = percent_decode_str(file.split('?').next().unwrap_or_default()).decode_utf8_lossy().into_owned();
                let anchor = percent_decode_str(anchor).decode_utf8_lossy().into_owned();
                let target = if file.is_empty() { name.clone() } else { joined(folder, &file) };
                let leads = self.0.get(&target).is_some_and(|page| anchor.is_empty() || page.ids.contains(&anchor));
                if !leads {
                    broken.push(format!("{name}: {link}"));
                }
            }
        }
        broken
    }

    fn loaded_from_elsewhere(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, page) in &self.0 {
            for elsewhere in LOADED.captures_iter(&page.text) {
                let address = elsewhere.get(1).or_else(|| elsewhere.get(2)).map_or("", |address| address.as_str());
                // Where a page is to be found is no request.
                if !elsewhere[0].contains("rel=\"canonical\"") {
                    found.push(format!("{name}: {address}"));
                }
            }
        }
        found
    }

    /// Each notebook of the course has its page, and gives the file as the project has it.
    fn notebooks(&self, project: &Path) -> Result<()> {
        let given = Regex::new(r#"href="(_downloads/[^"]*\.ipynb)""#).expect("it is a constant");
        let book = project.join(FOLDER);
        for path in crate::notebook::list(&project.join("notebooks"))? {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let page = self.0.get(&format!("{stem}.html")).with_context(|| format!("{stem} has no page: make the book anew"))?;
            let found = given.captures(&page.text).with_context(|| format!("{stem} has nothing to download"))?;
            let wanted = fs::read(&path)?;
            for given in [
                book.join(percent_decode_str(&found[1]).decode_utf8_lossy().as_ref()),
                book.join("_sources").join(format!("{stem}.ipynb")),
            ] {
                ensure!(
                    fs::read(&given)? == wanted,
                    "{} is another notebook than {}: make the book anew",
                    given.display(),
                    path.display()
                );
            }
        }
        Ok(())
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// A link from a file in `folder`.
fn joined(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}

fn none(found: Vec<String>) -> Result<()> {
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// What stands in a path and means something in an address.
const ESCAPED: AsciiSet = AsciiSet::EMPTY.add(b' ').add(b'#').add(b'?').add(b'%');

fn address(path: &Path) -> String {
    let path = path.to_string_lossy().replace('\\', "/");
    format!("file://{}{}", if path.starts_with('/') { "" } else { "/" }, utf8_percent_encode(&path, &ESCAPED))
}

fn search(browser: &Browser, book: &Path) -> Result<()> {
    browser.open(&format!("{}?q={SEARCHED}", address(&book.join("search.html"))))?;
    let started = Instant::now();
    loop {
        let found = browser.script("return document.querySelectorAll('#search-results li a').length", json!(null))?;
        if found.as_u64().unwrap_or_default() > 0 {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "it does not find {SEARCHED}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One page: what it loads, what axe says in both themes, and its width in a narrow window.
fn page(browser: &Browser, path: &Path, axe: Option<&str>) -> Result<()> {
    browser.open(&address(path))?;
    let loaded = browser.script(
        "return performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !/^(file|data|blob):/.test(name));",
        json!(null),
    )?;
    ensure!(loaded == json!([]), "it loads {loaded}");
    let mut wrong = Vec::new();
    if let Some(axe) = axe {
        for theme in ["light", "dark"] {
            let found = browser.script(
                &format!(
                    "document.documentElement.dataset.mode = document.documentElement.dataset.theme = args.theme;
                     await new Promise(done => setTimeout(done, 400));
                     {}
                     return await look(document);",
                    access::LOOK
                ),
                json!({"axe": axe, "theme": theme}),
            )?;
            wrong.extend(access::grave(&found)?.into_iter().map(|what| format!("{theme}: {what}")));
        }
    }
    browser.resize(NARROW, 740)?;
    let narrow = browser.script(
        "await new Promise(done => setTimeout(done, 200));
         const root = document.documentElement;
         const paragraph = document.querySelector('article p');
         const scrolls = node => node && (getComputedStyle(node).overflowX !== 'visible' || scrolls(node.parentElement));
         const wide = [...document.querySelectorAll('article *')].find(
            node => node.getBoundingClientRect().right > innerWidth + 1 && !scrolls(node.parentElement));
         return {
            inner: innerWidth, width: root.scrollWidth, size: paragraph ? parseFloat(getComputedStyle(paragraph).fontSize) : 16,
            wide: wide ? wide.outerHTML.slice(0, 200) : null,
         };",
        json!(null),
    );
    browser.resize(1440, 900)?;
    let narrow = narrow?;
    let Some(width) = narrow["width"].as_u64() else { bail!("the window has no width: {narrow}") };
    if narrow["inner"] != NARROW || width > u64::from(NARROW) || narrow["size"].as_f64().unwrap_or_default() < 14.0 {
        wrong.push(format!("in a window {NARROW} pixels wide: {narrow}"));
    }
    none(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(text: &str) -> (tempfile::TempDir, Pages) {
        let book = tempfile::tempdir().unwrap();
        fs::write(book.path().join("a.html"), text).unwrap();
        fs::write(book.path().join("b.html"), "<h1 id=\"What-is-`x`?\">B</h1>").unwrap();
        fs::create_dir(book.path().join("c")).unwrap();
        fs::write(book.path().join("c/d.svg"), "").unwrap();
        let pages = Pages::read(book.path()).unwrap();
        (book, pages)
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        for (link, leads) in [
            ("b.html", true),
            ("b.html#What-is-%60x%60?", true),
            ("c/../c/d.svg", true),
            ("https://example.org/x", true),
            ("b.html#no", false),
            ("e.html", false),
            ("#no", false),
        ] {
            let (_book, pages) = pages(&format!("<a class=\"x\" href=\"{link}\">x</a>"));
            assert_eq!(pages.broken().is_empty(), leads, "{link}");
        }
    }

    #[test]
    fn what_is_loaded_from_elsewhere_is_found_and_a_link_is_none() {
        for (text, count) in [
            ("<script defer src=\"https://cdn.example/x.js\"></script>", 1),
            ("<link rel=\"stylesheet\" href=\"//cdn.example/x.css\">", 1),
            ("<style>a { background: url(https://x.example/y.png) }</style>", 1),
            ("<a href=\"https://example.org\">x</a><script src=\"_static/x.js\"></script>", 0),
        ] {
            assert_eq!(pages(text).1.loaded_from_elsewhere().len(), count, "{text}");
        }
    }
}
