//! The texts that are not passed on as the kernel gives them.
//!
//! 1. What the panic hook prints ([`crate::config`]): it knows the line's text, and the front which cell that is in.
//! 2. ✓ and ✗ of a check, in the reader's own copy: green and red.
//! 3. One sentence of the kernel's under E0596, which is wrong there: a variable that is borrowed is not mended by `let mut x = x;`.
//! 4. What a first cell says that does not find the support crate beside the notebook: only that there is no such file.

use serde_json::{Value, json};

use crate::message::{Message, Signer};

/// How the hook's line begins.
const PANIC: &str = "\u{1}panic\t";

/// The sentence, as the kernel frames it.
const ADVICE: &str = "Note: You can change an existing variable to mutable like: `let mut x = x;`";

/// How the kernel names the path that the first cell looks for.
const SUPPORT_CRATE: &str = "\"../support-crate\"";

/// What to do when it is not there.
const AWAY: [&str; 4] = [
    "This notebook is not in its project's folder: its first cell looks for the support crate in `../support-crate`.",
    "Get the project (`git clone`), type `cargo lab` in it, and put this notebook into the folder `my-notebooks` there.",
    "Or say in the first cell where the crate is: `:dep pinlab = { path = \"/where/you/have/it/support-crate\" }`.",
    "",
];

/// Whether a part of a message has this text in it. (`windows` would take seconds for one long line: this program is not optimised, and `str` is.)
pub(crate) fn has(part: &[u8], text: &str) -> bool {
    std::str::from_utf8(part).is_ok_and(|part| part.contains(text))
}

/// The message that is passed on; `code` is that of the cell.
/// `coloured` if it checks an exercise in the reader's own copy.
pub(crate) fn mended(message: Message, code: &str, coloured: bool, signer: &Signer) -> Message {
    let is_ours = |text: &str| has(&message.parts[3], text);
    match message.header.msg_type.as_str() {
        "stream" if is_ours("\\u0001panic\\t") => {
            let mut content = message.content();
            let Some(text) = content["text"].as_str().and_then(|text| panic(text, code)) else {
                return message;
            };
            content["text"] = json!(text);
            signer.rewritten(message, &content)
        }
        "stream" if coloured => {
            let mut content = message.content();
            let text: String = content["text"].as_str().unwrap_or_default().split_inclusive('\n').map(with_colour).collect();
            content["text"] = json!(text);
            signer.rewritten(message, &content)
        }
        "error" if is_ours("E0596") => {
            let mut content = message.content();
            if !without_advice(&mut content) {
                return message;
            }
            signer.rewritten(message, &content)
        }
        "error" if code.contains(SUPPORT_CRATE) && is_ours("\\\"../support-crate\\\"") => {
            let mut content = message.content();
            if let Some(lines) = content["traceback"].as_array_mut() {
                lines.extend(AWAY.iter().map(|line| json!(line)));
            }
            signer.rewritten(message, &content)
        }
        _ => message,
    }
}

/// What is shown of a panic, if this text is the hook's.
fn panic(text: &str, code: &str) -> Option<String> {
    // What was printed before it may have left its line open.
    let (before, told) = text.split_once(PANIC)?;
    let mut parts = told.splitn(4, '\t');
    let (who, place, source, message) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lines = |is_it: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (1..).zip(code.lines()).filter(|(_, line)| is_it(line.trim())).map(|(number, _)| number).collect()
    };
    let mut same = lines(&|line| line == source);
    if same.is_empty() {
        // The kernel gives each statement a line of its own.
        same = lines(&|line| has_statement(line, source));
    }
    let place = match same.as_slice() {
        _ if !place.is_empty() => place.to_owned(),
        _ if source.is_empty() => "a place that is not known".to_owned(),
        [line] => format!("line {line} of this cell"),
        [] => format!("`{source}` (of an earlier cell)"),
        _ => format!("`{source}`"),
    };
    let open = if before.is_empty() { "" } else { "\n" };
    Some(format!("{before}{open}{who}panicked at {place}: {message}"))
}

/// True if this is one of several statements on the line.
fn has_statement(line: &str, statement: &str) -> bool {
    !statement.is_empty()
        && line.match_indices(statement).any(|(at, _)| {
            let (before, after) = (line[..at].trim_end(), line[at + statement.len()..].trim_start());
            (before.is_empty() || before.ends_with([';', '{', '}']))
                && (statement.ends_with([';', '}'])
                    || after.is_empty()
                    || after.starts_with([';', '}'])
                    || after.starts_with("//"))
        })
}

/// A line that begins with ✓ in green, one that begins with ✗ in red.
fn with_colour(line: &str) -> String {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    match text.chars().next() {
        Some('✓') => format!("\u{1b}[32m{text}\u{1b}[39m{end}"),
        Some('✗') => format!("\u{1b}[31m{text}\u{1b}[39m{end}"),
        _ => line.to_owned(),
    }
}

/// Takes the sentence out; false if it is not there.
fn without_advice(content: &mut Value) -> bool {
    let Some(lines) = content["traceback"].as_array_mut() else {
        return false;
    };
    // A line of the cell has its number before the frame.
    let framed = |line: &Value| {
        line.as_str().and_then(|line| without_colours(line).trim().strip_prefix('│').map(|rest| rest.trim().to_owned()))
    };
    let Some(at) = lines.iter().position(|line| framed(line).as_deref() == Some(ADVICE)) else {
        return false;
    };
    lines.remove(at);
    if at > 0 && framed(&lines[at - 1]).as_deref() == Some("") {
        lines.remove(at - 1);
    }
    true
}

/// The text without the sequences that colour it.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn made(msg_type: &str, content: &Value) -> (Message, Signer) {
        let signer = Signer::new("key");
        (signer.make(msg_type, vec![], &Bytes::from_static(b"{}"), content), signer)
    }

    #[test]
    fn a_part_has_a_text_wherever_it_stands_in_it() {
        for (part, is_there) in [("panic", true), ("a panic", true), ("panics", true), ("pani", false), ("", false)] {
            assert_eq!(has(part.as_bytes(), "panic"), is_there, "{part:?}");
        }
        assert!(!has(b"panic \xff", "panic"), "no text, so no message");
    }

    #[test]
    fn a_panic_names_the_line_of_its_cell() {
        let code = "let v = [1];\n  v[k]\nv[k]; v[k];\nsame\nsame";
        let shown = |rest: &str| panic(&format!("\u{1}panic\t{rest}"), code).unwrap();
        assert_eq!(shown("\t\tlet v = [1];\tboom\tand\n"), "panicked at line 1 of this cell: boom\tand\n");
        assert_eq!(shown("a thread \t\tv[k]\tboom\n"), "a thread panicked at line 2 of this cell: boom\n");
        assert_eq!(shown("\t\tsame\tboom\n"), "panicked at `same`: boom\n");
        assert_eq!(shown("\t\tv[k];\tboom\n"), "panicked at line 3 of this cell: boom\n");
        assert_eq!(shown("\t\tgone()\tboom\n"), "panicked at `gone()` (of an earlier cell): boom\n");
        let one_line = |code: &str, source: &str| panic(&format!("\u{1}panic\t\t\t{source}\tboom\n"), code).unwrap();
        let panics = "panic!(\"then\")";
        for code in [format!("println!(\"é\"); {panics}"), format!("{{ {panics} }}"), format!("a();{panics} // now")] {
            assert_eq!(one_line(&code, panics), "panicked at line 1 of this cell: boom\n", "{code}");
        }
        // A part of another statement is none.
        assert!(one_line("let not_x = xs;", "x").contains("earlier") && one_line("f(v[k], 1);", "v[k]").contains("earlier"));
        assert_eq!(shown("\tcore/src/a.rs:7\tv[k]\tboom\n"), "panicked at core/src/a.rs:7: boom\n");
        assert_eq!(panic("open\u{1}panic\t\t\tsame\tboom\n", "same").unwrap(), "open\npanicked at line 1 of this cell: boom\n");
        assert_eq!(panic("panic\t\t\tsame\tboom\n", "same"), None);
    }

    #[test]
    fn the_verdict_of_a_check_is_coloured() {
        let (message, signer) = made("stream", &json!({"name": "stdout", "text": "✓ yes\n✗ no\nplain ✓\n"}));
        assert_eq!(
            mended(message.clone(), "", true, &signer).content()["text"],
            "\u{1b}[32m✓ yes\u{1b}[39m\n\u{1b}[31m✗ no\u{1b}[39m\nplain ✓\n"
        );
        assert_eq!(mended(message.clone(), "", false, &signer).parts, message.parts);
    }

    #[test]
    fn a_notebook_away_from_its_project_says_how_to_get_the_crate() {
        let first = ":cache 1024\n:dep pinlab = { path = \"../support-crate\" }";
        let said = "No such file or directory (os error 2): \"../support-crate\"";
        let (message, signer) = made("error", &json!({"ename": "Error", "evalue": said, "traceback": [said]}));
        let mended_content = mended(message.clone(), first, false, &signer).content();
        let lines = mended_content["traceback"].as_array().unwrap();
        assert_eq!(lines[0], said);
        assert!(lines.len() > 2 && lines.iter().any(|line| line.as_str().unwrap().contains("cargo lab")), "{lines:?}");
        assert_eq!(mended(message.clone(), "let x = 1;", false, &signer).parts, message.parts);
    }

    #[test]
    fn what_is_mended_is_signed_and_all_else_is_untouched() {
        let (message, signer) = made("stream", &json!({"name": "stdout", "text": "\u{1}panic\t\t\tx\tboom\n"}));
        let shown = mended(message, "x", false, &signer);
        assert!(signer.accepts(&shown));
        assert_eq!(shown.content()["text"], "panicked at line 1 of this cell: boom\n");
        for (msg_type, text) in [("stream", "panicked at"), ("execute_result", "\u{1}panic\t\t\tx\tboom\n"), ("stream", ADVICE)] {
            let (message, signer) = made(msg_type, &json!({"name": "stdout", "text": text}));
            assert_eq!(mended(message.clone(), "x", false, &signer).parts, message.parts);
        }
    }

    #[test]
    fn the_wrong_advice_is_taken_out_and_a_cell_that_says_the_same_stays() {
        let lines = |advice: &str| {
            json!({"ename": "Error", "traceback": [
                "\u{1b}[31m[E0596] Error:\u{1b}[0m cannot borrow `s` as mutable",
                format!("\u{1b}[38;5;246m1 │\u{1b}[0m {ADVICE}"),
                " \u{1b}[38;5;240m  │\u{1b}[0m \u{1b}[38;5;100m╰\u{1b}[0m help: consider changing this to be mutable",
                " \u{1b}[38;5;240m  │\u{1b}[0m ",
                advice,
                "\u{1b}[38;5;246m───╯\u{1b}[0m"]})
        };
        let advice = " \u{1b}[38;5;240m  │\u{1b}[0m \u{1b}[38;5;115mNote\u{1b}[0m: You can change an existing variable to mutable like: `let mut x = x;`";
        let (message, signer) = made("error", &lines(advice));
        let shown = mended(message, "", false, &signer).content();
        let shown = shown["traceback"].as_array().unwrap();
        assert_eq!(shown.len(), 4, "{shown:?}");
        assert!(shown[1].as_str().unwrap().contains(ADVICE) && shown[3] == "\u{1b}[38;5;246m───╯\u{1b}[0m");
        let (message, signer) = made("error", &lines("another note"));
        assert_eq!(mended(message.clone(), "", false, &signer).parts, message.parts);
    }
}
