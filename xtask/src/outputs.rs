//! What a cell gives: how it ended, the form in which notebooks keep what it showed, and that as texts, without colours and without what the kernel and
//! cargo say of their own work.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// How a cell ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// With a reply, whatever that says.
    Reply,
    /// It was interrupted at its limit.
    TooLate,
    /// The kernel is no more: why.
    Death(String),
}

/// A cell that was run.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// In the form in which notebooks keep them.
    pub(crate) outputs: Vec<Value>,
    pub(crate) seconds: f64,
    pub(crate) end: End,
}

/// A string, or the list of lines that notebooks keep long strings as.
pub(crate) fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

/// The list of lines that a notebook keeps `text` as.
pub(crate) fn lines(text: &str) -> Value {
    text.split_inclusive('\n').collect()
}

/// One text of a cell's output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    /// `stdout`, `stderr`, `error`, or a mime type.
    pub(crate) title: String,
    pub(crate) text: String,
}

/// The texts of a cell's outputs as they are, without colours and build chatter.
///
/// The two streams race each other and the pictures, so each stream is put together whole: stdout comes first, stderr last.
/// What the kernel forwards may even come too late and be lost, the more easily the busier the machine is (see `judge::is_cut_short`).
pub(crate) fn sections(outputs: &[Value]) -> Vec<Section> {
    let stream = |name: &str| -> Option<Section> {
        let of_it = outputs.iter().filter(|output| output["output_type"] == "stream" && output["name"] == name);
        let text: String = of_it.map(|output| joined(&output["text"])).collect();
        let text = without_colours(&text);
        // A panic's empty first line comes by itself, and so sometimes not at all.
        let text = if name == "stderr" { without_chatter(&text).trim_matches('\n').to_owned() } else { text };
        (!text.trim().is_empty()).then(|| Section { title: name.to_owned(), text })
    };
    let mut sections: Vec<Section> = stream("stdout").into_iter().collect();
    for output in outputs {
        if output["output_type"] == "error" {
            // The traceback tells all, the value only its first line.
            let lines = output["traceback"].as_array().into_iter().flatten();
            let lines: Vec<&str> = lines.filter_map(Value::as_str).collect();
            let text = if lines.is_empty() { joined(&output["evalue"]) } else { lines.join("\n") };
            sections.push(Section { title: "error".into(), text: without_chatter(&without_colours(&text)) });
        }
        for (mime, data) in output["data"].as_object().into_iter().flatten() {
            let text = match data {
                Value::String(_) | Value::Array(_) => joined(data),
                other => other.to_string(),
            };
            sections.push(Section { title: mime.clone(), text: without_colours(&text) });
        }
    }
    sections.extend(stream("stderr"));
    sections
}

/// Drops what the kernel and cargo add to stderr: `   Compiling pinlab v0.1.0 (…)`, and the list of calls below a panic or a
/// crash, which says more about the kernel than about the cell.
pub(crate) fn without_chatter(text: &str) -> String {
    static CHATTER: LazyLock<Regex> = LazyLock::new(|| {
        let verbs = "Adding|Blocking|Checking|Compiling|Downloaded|Downloading|Dirty|Finished|Fresh|Locking|Updating";
        let calls = r"stack backtrace:|note: [Ss]ome details are omitted|note: run with `RUST_BACKTRACE|[ \t]+\d+: | +at ";
        regex(&format!(r"(?m)^(?: +(?:{verbs})\b|{calls}).*\n?"))
    });
    CHATTER.replace_all(text, "").into_owned()
}

fn without_colours(text: &str) -> String {
    static COLOUR: LazyLock<Regex> = LazyLock::new(|| regex(r"\x1b\[[0-9;]*[A-Za-z]"));
    COLOUR.replace_all(text, "").into_owned()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is ours and is tested")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_kernel_and_cargo_say_of_their_work_is_dropped() {
        assert_eq!(without_chatter("   Compiling pinlab v0.1.0 (/somewhere)\nhello\n    Updating index\n"), "hello\n");
        let panic = "panicked at src/lib.rs:\nboom\nstack backtrace:\n   0: a\n             at b\n\
                     note: Some details are omitted, run\nnext\n";
        assert_eq!(without_chatter(panic), "panicked at src/lib.rs:\nboom\nnext\n");
        assert_eq!(without_chatter("Compiling is what cargo does\n"), "Compiling is what cargo does\n");
    }

    #[test]
    fn each_stream_is_put_together_whole() {
        let outputs = [
            json!({"output_type": "stream", "name": "stderr", "text": "one\n"}),
            json!({"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]}),
            json!({"output_type": "stream", "name": "stderr", "text": ["two\n", "\n"]}),
        ];
        let found = sections(&outputs);
        assert_eq!(found[0], Section { title: "stdout".into(), text: "a\nb\n".into() });
        assert_eq!(found[1], Section { title: "stderr".into(), text: "one\ntwo".into() });
    }

    #[test]
    fn colours_do_not_count() {
        let error = json!({"output_type": "error", "ename": "Error", "evalue": "x", "traceback": ["\u{1b}[31m[E0382] Error:\u{1b}[0m x"]});
        assert_eq!(sections(&[error])[0].text, "[E0382] Error: x");
    }
}
