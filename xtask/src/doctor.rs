//! `cargo lab doctor`: what is there, what is missing, how to get it.

use std::path::Path;

use anyhow::Result;
use pinlab_kernel::session;

use crate::setup::store::Store;
use crate::setup::tools::{self, Missing};
use crate::setup::{Names, kernel, python, warm};

/// One line of the diagnosis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    name: &'static str,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// It is there; the text says which or where.
    There(String),
    /// It is not there, and nothing is lost by that.
    Optional(String),
    /// It is not there, and the lab does not work without it.
    Lacking(Missing),
}

/// Prints the diagnosis; true if nothing that is needed is missing.
pub(crate) fn diagnose(project: &Path) -> Result<bool> {
    let store = Store::of_user()?;
    let components = components_found(&store, project);
    let is_set_up = components.iter().all(|component| matches!(component.state, State::There(_)));
    let mut findings = tools_found();
    findings.push(network_found(session::online(), is_set_up));
    findings.extend(components);
    println!("{}", render(&findings));
    println!("  the lab's folder: {}", store.root().display());
    Ok(is_well(&findings))
}

fn tools_found() -> Vec<Finding> {
    let required = |name, found: Result<String, Missing>| Finding {
        name,
        state: match found {
            Ok(detail) => State::There(detail),
            Err(missing) => State::Lacking(missing),
        },
    };
    let optional = |name, found: bool, without: &str| Finding {
        name,
        state: if found { State::There(String::new()) } else { State::Optional(without.to_owned()) },
    };
    let rust = tools::rustc_version();
    let uv = tools::runs("uv", &["--version"]);
    let mut findings = vec![required("Rust", as_missing(rust, || tools::missing_rust(None)).map(|text| first_line(&text)))];
    if matches!(findings[0].state, State::There(_)) {
        let linker = as_missing(tools::check_linker(), tools::missing_linker).map(|()| String::new());
        let name = "standard library's source";
        let source = match tools::rust_source() {
            Ok(folder) if folder.is_dir() => required(name, Ok(String::new())),
            _ if tools::runs("rustup", &["--version"]) => optional(name, false, "rustup adds it at the set-up"),
            _ => required(name, Err(tools::missing_rust_source())),
        };
        findings.push(required("C linker", linker));
        findings.push(source);
    }
    // Of a store that others are to share, uv makes nothing.
    if !uv || session::is_named() {
        findings.push(required("Python", python_found(&python::found())));
    }
    findings.push(optional("uv", uv, "pip does its work"));
    let binstall = tools::runs("cargo", &["binstall", "-V"]);
    findings.push(optional("cargo binstall", binstall, "the kernel is compiled: about six minutes, once"));
    findings
}

/// The set-up needs it; what is set up does not.
fn network_found(is_there: bool, is_set_up: bool) -> Finding {
    let state = match (is_there, is_set_up) {
        (true, _) => State::There(String::new()),
        (false, true) => State::Optional("needed for `:dep` lines of your own, not for the course".to_owned()),
        (false, false) => State::Lacking(Missing::new(
            "the network: the set-up fetches packages, and cargo does not reach its registry",
            "connect, or set the proxy: HTTPS_PROXY",
        )),
    };
    Finding { name: "network", state }
}

fn python_found(found: &[python::Python]) -> Result<String, Missing> {
    let python = python::choose(found, python::OLDEST)?;
    if !python.runs("import venv, ensurepip") {
        return Err(python::missing_venv(python.version));
    }
    Ok(format!("{}.{}", python.version.0, python.version.1))
}

fn components_found(store: &Store, project: &Path) -> Vec<Finding> {
    let names = Names::needed();
    let component = |name, component: &str, detail: String| Finding {
        name,
        state: match store.find(component) {
            Some(_) => State::There(detail),
            None => State::Optional("not set up yet: `cargo lab` does it".to_owned()),
        },
    };
    let mut environment = component("JupyterLab", &names.python, python::pinned("jupyterlab").to_owned());
    if store.find(&names.python).is_some_and(|folder| !python::works(&folder)) {
        environment.state = State::Optional("its Python is gone: `cargo lab` sets it up anew".to_owned());
    }
    vec![
        environment,
        component("kernel", &names.kernel, kernel::VERSION.to_owned()),
        component("the kernel's front", &names.front, String::new()),
        Finding {
            name: "support crate, compiled",
            state: if warm::is_ready(store.root(), project) {
                State::There(String::new())
            } else {
                State::Optional("not yet, or it has changed: `cargo lab` does it".to_owned())
            },
        },
    ]
}

fn as_missing<T>(result: Result<T>, otherwise: impl FnOnce() -> Missing) -> Result<T, Missing> {
    result.map_err(|error| error.downcast().unwrap_or_else(|_| otherwise()))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_start_matches("rustc ").to_owned()
}

fn is_well(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| matches!(finding.state, State::Lacking(_)))
}

fn render(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { name, state } in findings {
        let line = match state {
            State::There(detail) => format!("  ✓ {name:width$}  {detail}"),
            State::Optional(detail) => format!("  – {name:width$}  {detail}"),
            State::Lacking(Missing { what, how }) => {
                format!("  ✗ {name:width$}  missing: {what}\n      to get it: {how}")
            }
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let verdict = if is_well(findings) {
        "Everything that the lab needs is there."
    } else {
        "The lab cannot work until the ✗ are mended."
    };
    text + "\n" + verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_makes_the_diagnosis_bad() {
        let there = Finding { name: "Rust", state: State::There("1.95.0".into()) };
        let optional = Finding { name: "uv", state: State::Optional("pip does its work".into()) };
        let lacking = Finding { name: "C linker", state: State::Lacking(tools::missing_linker()) };
        assert!(is_well(&[there.clone(), optional.clone()]));
        assert!(!is_well(&[there.clone(), lacking.clone()]));
        let text = render(&[there, optional, lacking]);
        assert!(text.contains("✓ Rust") && text.contains("– uv") && text.contains("✗ C linker"), "{text}");
        assert!(text.contains("to get it: "), "{text}");
    }

    #[test]
    fn without_a_network_nothing_is_set_up_and_what_is_set_up_works() {
        assert!(is_well(&[network_found(true, false)]) && is_well(&[network_found(false, true)]));
        assert!(!is_well(&[network_found(false, false)]));
    }

    #[test]
    fn an_old_python_and_no_python_are_told_apart() {
        let python = |version| python::Python { command: vec!["python3".into()], version, program: "python3".into() };
        assert!(python_found(&[]).unwrap_err().what.contains("none was found"));
        assert!(python_found(&[python((3, 9))]).unwrap_err().what.contains("found 3.9"));
        assert_eq!(python::choose(&[python((3, 9)), python((3, 12))], python::OLDEST).unwrap().version, (3, 12));
        assert!(python::missing_venv((3, 11)).to_string().contains("python3.11-venv"));
    }
}
