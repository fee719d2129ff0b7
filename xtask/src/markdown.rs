//! What the runner needs from prose: its blocks of code, the links, and the headings that links may lead to.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A fenced block of code.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    /// What stands behind the opening fence: `rust`, `rust E0382`, `text`.
    pub(crate) language: String,
    /// Where its lines are in the source.
    pub(crate) inside: Range<usize>,
}

/// The fenced blocks that are not indented.
pub(crate) fn blocks(source: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (event, range) in events(source) {
        let Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) = event else { continue };
        let at_margin = range.start == 0 || source[..range.start].ends_with('\n');
        let text = &source[range.clone()];
        let closing = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
        if let (true, Some(opening)) = (at_margin, text.find('\n'))
            && closing > opening
            && text[closing..].starts_with("```")
        {
            blocks.push(Block { language: language.into_string(), inside: range.start + opening + 1..range.start + closing });
        }
    }
    blocks
}

/// The text of every fenced `rust` block.
pub(crate) fn rust_blocks(source: &str) -> Vec<String> {
    let blocks = blocks(source).into_iter().filter(|block| block.language == "rust");
    blocks.map(|block| source[block.inside].trim_end().to_owned()).collect()
}

/// The destination of every link and picture.
pub(crate) fn links(source: &str) -> Vec<String> {
    parse(source)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
            _ => None,
        })
        .collect()
}

/// The text of every link, and its destination.
pub(crate) fn labelled_links(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for event in parse(source) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => open = Some((String::new(), dest_url.into_string())),
            Event::Text(text) | Event::Code(text) => {
                if let Some((label, _)) = &mut open {
                    label.push_str(&text);
                }
            }
            Event::End(TagEnd::Link) => found.extend(open.take()),
            _ => {}
        }
    }
    found
}

/// The names under which JupyterLab can jump to this cell's headings: their text, with dashes for spaces.
pub(crate) fn anchors(source: &str) -> Vec<String> {
    let mut anchors = Vec::new();
    let mut open: Option<String> = None;
    for event in parse(source) {
        match event {
            Event::Start(Tag::Heading { .. }) => open = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut open {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some(heading) = open.take() {
                    anchors.push(heading.trim().replace(' ', "-"));
                }
            }
            _ => {}
        }
    }
    anchors
}

fn parse(source: &str) -> Parser<'_> {
    Parser::new_ext(source, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
}

/// What the source says, and where.
pub(crate) fn events(source: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    parse(source).into_offset_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_is_the_rust_block_in_the_details() {
        let cell = "<details><summary>Solution</summary>\n\n```rust\nlet x = 1;\nlet y = 2;\n```\n\n</details>";
        assert_eq!(rust_blocks(cell), ["let x = 1;\nlet y = 2;"]);
        assert!(rust_blocks("```text\nno\n```").is_empty());
    }

    #[test]
    fn links_and_anchors_are_found() {
        assert_eq!(links("See [this](01-a.ipynb#Why) and ![that](p.svg)."), ["01-a.ipynb#Why", "p.svg"]);
        assert_eq!(anchors("# What is `Pin`?\ntext\n## And then"), ["What-is-Pin?", "And-then"]);
    }
}
