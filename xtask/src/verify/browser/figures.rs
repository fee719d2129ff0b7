//! What the figures do in a browser: they can be read, a word answers, a picture is stepped, a player plays, and a name is text.
//!
//! Each check finds the page on the notebook [`super::MODEL`], all of its cells run. To add one, write a function of the page and
//! name it in [`CHECKS`]. What it may use: [`Page::script`] for a look at the document (`panel` is the open notebook), and
//! [`Page::type_and_run`] for figures of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::Page;
use crate::notebook::Notebook;

/// What is checked, and how.
type Figure = fn(&Page<'_>) -> Result<()>;

/// All checks of figures.
pub(super) const CHECKS: &[(&str, Figure)] = &[
    ("a word answers to the pointer and to the keys", words),
    ("a picture of several positions is stepped", steps),
    ("a timeline is a player", player),
    ("a name with markup in it is text", markup),
];

/// The figures of the page, those of cells that are not in sight included.
const FIGURES: &str = "
    const all = [], without = [];
    for (const cell of panel.content.widgets) {
        const html = cell.model.type === 'code' ? cell.model.outputs.toJSON().map(output => String(output.data?.['text/html'] ?? '')) : [];
        if (!html.some(text => text.includes('<figure'))) continue;
        await panel.content.scrollToCell(cell);
        // Each comes to life by itself, on a busy machine after a while.
        const figures = () => [...cell.node.querySelectorAll('.jp-OutputArea-output figure.pinlab')];
        const live = () => figures().length && figures().every(figure => figure.hasAttribute('data-live'));
        for (let tries = 0; tries < 200 && !live(); tries++) {
            await new Promise(resolve => setTimeout(resolve, 50));
        }
        if (!figures().length) without.push(cell.model.sharedModel.source.split('\\n')[0]);
        all.push(...figures());
    }";

/// What is wrong with the texts of a picture: too small, cut, or one over the other.
const TEXTS: &str = "
    const texts = (svg) => {
        const frame = svg.getBoundingClientRect(), wrong = [], before = [];
        const scale = frame.width / Number(svg.getAttribute('width'));
        for (const text of svg.querySelectorAll('text')) {
            const box = text.getBoundingClientRect(), size = parseFloat(getComputedStyle(text).fontSize) * scale;
            if (!box.width) continue;
            // The box of a text is a line's, and letters are less high.
            const over = before.find(([other]) => Math.min(box.right, other.right) - Math.max(box.left, other.left) > 2
                && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > box.height * 0.4);
            if (over) wrong.push(`${text.textContent} stands over ${over[1]}`);
            before.push([box, text.textContent]);
            if (size < 10.9) wrong.push(`${size.toFixed(1)} px: ${text.textContent}`);
            const out = Math.max(frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom);
            if (out > 1) wrong.push(`cut by ${out.toFixed(0)} px: ${text.textContent}`);
        }
        return wrong;
    };";

/// The widths of a page: of a large and of a small screen, and of each when all is shown twice as large. In CSS pixels.
const WIDTHS: [u32; 4] = [1440, 1024, 720, 512];

/// Each figure of the open notebook lives, has a name, and can be read at each of [`WIDTHS`]; what is wider can be scrolled by keys.
pub(super) fn readable(page: &Page<'_>) -> Result<()> {
    let mut wrong = Vec::new();
    for width in WIDTHS {
        page.resize(width)?;
        let found = page.script(
            &format!(
                "{FIGURES}{TEXTS}
                 const wrong = without.map(cell => `no figure is seen below: ${{cell}}`);
                 for (const figure of all) {{
                    const name = figure.getAttribute('aria-label') ?? '';
                    const svg = figure.querySelector('.view svg');
                    if (!figure.hasAttribute('data-live') || !svg) wrong.push(`it stands still: ${{name}}`);
                    if (!name.trim()) wrong.push('a figure without a name');
                    if (svg) wrong.push(...texts(svg).map(what => `${{name}}: ${{what}}`));
                    if (svg && svg.getBoundingClientRect().width < Number(svg.getAttribute('width')) - 1) wrong.push(`it is shrunk: ${{name}}`);
                    for (const view of figure.querySelectorAll('.view')) {{
                        const out = () => view.scrollWidth > view.clientWidth && view.tabIndex < 0 && !view.querySelector('[tabindex=\"0\"]');
                        // What is out of sight is not laid out, and is told of no new size.
                        if (out()) view.scrollIntoView();
                        for (let tries = 0; tries < 40 && out(); tries++) await new Promise(resolve => setTimeout(resolve, 50));
                        if (out()) wrong.push(`keys cannot scroll it: ${{name}}`);
                    }}
                 }}
                 return wrong"
            ),
            json!(null),
        );
        wrong.extend(found?.as_array().into_iter().flatten().map(|what| format!("at {width} px: {what}")));
    }
    page.resize(WIDTHS[0])?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// How many figures live, and how many there are.
fn living(page: &Page<'_>) -> Result<[u64; 2]> {
    let found = page.script(
        &format!(
            "{FIGURES}
             return [all.filter(figure => figure.hasAttribute('data-live')).length, all.length]"
        ),
        json!(null),
    )?;
    Ok([0, 1].map(|index| found[index].as_u64().unwrap_or_default()))
}

/// A notebook that was saved and is opened again has its figures; one that is not trusted shows them as they are without a script.
pub(super) fn opened_again(page: &Page<'_>, notebook: &Notebook, folder: &Path) -> Result<()> {
    let [before, all] = living(page)?;
    ensure!(before > 0 && before == all, "{before} of {all} live");
    page.close()?;
    page.open(&notebook.name)?;
    let [after, _] = living(page)?;
    ensure!(after == before, "{before} lived, and {after} do when it is opened again");
    page.close()?;
    // With another word in it, it is not the notebook that was trusted.
    let path = folder.join(format!("{}.ipynb", notebook.name));
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    text["metadata"]["touched"] = json!(true);
    fs::write(&path, text.to_string())?;
    page.open(&notebook.name)?;
    let found = page.script(
        "let live = 0, still = 0, all = 0;
         for (const cell of panel.content.widgets) {
            if (cell.model.type !== 'code' || !cell.model.outputs.toJSON().some(output => output.data && output.data['text/html'])) continue;
            await panel.content.scrollToCell(cell);
            await new Promise(resolve => setTimeout(resolve, 500));
            all += 1;
            live += cell.node.querySelectorAll('[data-live]').length;
            const seen = image => image.naturalWidth > 50 && image.getBoundingClientRect().width > 50 && image.alt.trim();
            still += [...cell.node.querySelectorAll('.jp-OutputArea-output img')].some(seen) ? 1 : 0;
         }
         return {live, still, all}",
        json!(null),
    )?;
    ensure!(found["live"] == 0, "a script has run in a notebook that is not trusted: {found}");
    ensure!(found["all"] != 0 && found["still"] == found["all"], "pictures that are not there: {found}");
    Ok(())
}

fn words(page: &Page<'_>) -> Result<()> {
    let found = page.script(
        &format!(
            "{FIGURES}
             const leads = (word) => {{
                const to = (word.getAttribute('data-to') ?? '').split(' ').filter(Boolean);
                return [...word.closest('svg').querySelectorAll('.w,.h')].filter(other => to.includes(other.getAttribute('data-at')));
             }};
             for (const figure of all) {{
                const word = [...figure.querySelectorAll('.view svg .w')].find(word => leads(word).length);
                if (!word) continue;
                const svg = word.closest('svg'), says = () => figure.querySelector('.say').textContent;
                const hint = says();
                word.dispatchEvent(new PointerEvent('pointerover', {{bubbles: true}}));
                const lit = leads(word).every(target => target.classList.contains('lit')) && !!svg.querySelector('.a.lit');
                const said = says();
                svg.dispatchEvent(new PointerEvent('pointerleave'));
                const dark = !svg.querySelector('.lit');
                const first = svg.querySelector('.w');
                first.focus();
                const focused = says();
                first.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowDown', bubbles: true, cancelable: true}}));
                const next = document.activeElement !== first && document.activeElement.classList.contains('w');
                const walked = says();
                document.activeElement.blur();
                return {{lit, said, told: word.getAttribute('data-say'), hint, dark, focused, next, walked}};
             }}
             return null"
        ),
        json!(null),
    )?;
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    ensure!(!found.is_null(), "there is no word that leads to another");
    ensure!(found["lit"] == true && found["dark"] == true, "its target and its arrow light up, and go dark again: {found:#}");
    ensure!(!text("told").is_empty() && text("said").starts_with(&text("told")), "it says what it is: {found:#}");
    ensure!(found["next"] == true && text("focused") != text("hint") && text("walked") != text("focused"), "by keys: {found:#}");
    Ok(())
}

fn steps(page: &Page<'_>) -> Result<()> {
    let found = page.script(
        &format!(
            "{FIGURES}{TEXTS}
             const wrong = [], counts = [];
             for (const figure of all) {{
                const bar = figure.querySelector('.bar');
                if (!bar || figure.querySelector('dl.state')) continue;
                const slider = bar.querySelector('input[type=range]'), label = () => bar.querySelector('.at').textContent;
                const count = Number(slider.max) + 1;
                counts.push(count);
                slider.value = '0';
                slider.dispatchEvent(new Event('input'));
                const seen = [label()];
                const key = (name) => figure.dispatchEvent(new KeyboardEvent('keydown', {{key: name, bubbles: true, cancelable: true}}));
                for (let at = 1; at < count; at++) {{
                    if (at % 2) key('ArrowRight'); else bar.querySelector('[aria-label=next]').click();
                    seen.push(label());
                    wrong.push(...texts(figure.querySelector('.view svg')));
                }}
                if (new Set(seen).size !== count) wrong.push(`${{count}} positions, and seen were ${{seen}}`);
                if (!bar.querySelector('[aria-label=next]').disabled) wrong.push('there is a position after the last one');
                key('ArrowLeft');
                if (count > 1 && label() !== seen[count - 2]) wrong.push(`back is ${{label()}}`);
             }}
             return [counts, wrong]"
        ),
        json!(null),
    )?;
    ensure!(found[0].as_array().is_some_and(|counts| !counts.is_empty()), "no picture has several positions");
    ensure!(found[1].as_array().is_some_and(Vec::is_empty), "{:#}", found[1]);
    Ok(())
}

/// A script on the figure of the cell that was typed last; it may use `figure`.
fn of_last(page: &Page<'_>, body: &str) -> Result<Value> {
    page.script(
        &format!(
            "const cell = panel.content.widgets.find(cell => cell.model.id === window.pinlabCell);
             await panel.content.scrollToCell(cell);
             for (let tries = 0; tries < 40 && !cell.node.querySelector('figure.pinlab[data-live]'); tries++) {{
                await new Promise(resolve => setTimeout(resolve, 50));
             }}
             const figure = cell.node.querySelector('figure.pinlab');
             if (!figure) return null;
             {body}"
        ),
        json!(null),
    )
}

fn player(page: &Page<'_>) -> Result<()> {
    page.type_and_run(
        "{ let rt = Runtime::new().unwrap(); rt.record(); \
         rt.block_on(async { let nap = rt.handle().sleep(Duration::from_millis(3)); rt.spawn(nap).await }).unwrap(); rt.stop_recording() }",
    )?;
    let found = of_last(
        page,
        "const bar = figure.querySelector('.bar'), slider = bar.querySelector('input[type=range]');
         const moments = [];
         for (let at = 0; at <= Number(slider.max); at++) {
            slider.value = String(at);
            slider.dispatchEvent(new Event('input'));
            moments.push({says: figure.querySelector('p.say').textContent, state: figure.querySelector('dl.state').textContent,
                now: figure.querySelectorAll('.e.now').length});
         }
         const fires = moments.findIndex(moment => /timer/.test(moment.says));
         figure.querySelectorAll('.e')[fires].dispatchEvent(new MouseEvent('click', {bubbles: true}));
         return {moments, fires, clicked: figure.querySelector('p.say').textContent, twoScales: figure.querySelectorAll('.view').length >= 3}",
    )?;
    page.empty_last()?;
    let moments = found["moments"].as_array().context("there is no player")?;
    let all = |name: &str| moments.iter().all(|moment| moment[name].as_str().is_some_and(|text| !text.is_empty()));
    ensure!(moments.len() >= 6 && all("says") && all("state"), "each step says what happens and how things stand: {found:#}");
    ensure!(moments.iter().all(|moment| moment["now"] == 1), "one step is marked at a time: {found:#}");
    let fires = found["fires"].as_u64().context("no step speaks of the timer")? as usize;
    ensure!(
        found["clicked"] == moments[fires]["says"] && found["twoScales"] == true,
        "a click on an event goes there: {found:#}"
    );
    Ok(())
}

fn markup(page: &Page<'_>) -> Result<()> {
    page.type_and_run(
        "{ let text = Box::new(String::from(\"<img src=x onerror='window.pinlabEvil=1'><script>window.pinlabEvil=1</script>\")); XRay::of(&*text) }",
    )?;
    let found = of_last(
        page,
        "await new Promise(resolve => setTimeout(resolve, 300));
         return [typeof window.pinlabEvil, figure.textContent.includes('<img'), figure.querySelectorAll('img[src=x]').length]",
    )?;
    page.empty_last()?;
    ensure!(found == json!(["undefined", true, 0]), "it is shown as text, and nothing of it runs: {found}");
    Ok(())
}
