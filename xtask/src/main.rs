//! The two commands of the project: `cargo lab` opens the course, `cargo verify` proves that it works.
//!
//! ```text
//! cargo lab     lab ──▶ setup ──▶ JupyterLab ──▶ the front (`kernel/`) ──▶ the kernel
//! cargo verify  verify ──▶ setup ──▶ jupyter ──▶ runner ──▶ "N passed, N failed"
//! ```

mod book;
mod copy;
#[cfg(test)]
mod crafted;
mod digest;
mod doctor;
mod installed;
mod jupyter;
mod lab;
mod markdown;
mod notebook;
mod outputs;
mod remedy;
mod runner;
mod setup;
mod ui;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(bin_name = "cargo", disable_help_subcommand = true)]
enum Cli {
    /// Set up what is missing and open JupyterLab on the notebooks
    #[command(args_conflicts_with_subcommands = true)]
    Lab(Lab),
    /// Check everything that must hold: formatting, lints, documentation, tests, every notebook and every exercise, two notebooks in a browser
    Verify(Verify),
}

#[derive(Debug, Args)]
#[command(
    after_help = "What it installs is in one folder of your cache (or where PINLAB_STORE says), shared by all clones: `cargo lab doctor` names it."
)]
struct Lab {
    #[command(subcommand)]
    chore: Option<Chore>,
    /// Do not open a browser: the address to open is printed
    #[arg(long)]
    no_browser: bool,
    /// The port to listen on [default: 8888, or one near it that is free]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Set up what is missing, and start nothing
    Setup,
    /// Give fresh copies of notebooks; what you have changed is kept beside them (not with --all)
    Reset {
        /// Beginnings of names, such as 02
        #[arg(value_name = "NAME", conflicts_with = "all")]
        names: Vec<String>,
        /// The whole copy, with all that you have written in it and what you have solved
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long, requires = "all")]
        yes: bool,
    },
    /// Tell other programs of this user, such as VS Code, about the kernel
    Register,
    /// Make the course as a folder of pages to be read in a browser, without running anything there
    #[command(
        after_help = "Every notebook is run first, which takes about a minute each; the first time, Sphinx is installed in an environment of its own.\nThe pages open from the folder, without a server, and ask nobody for anything. `cargo verify --book` checks those in target/book."
    )]
    Book {
        /// Where the pages are to be [default: target/book]
        #[arg(long, value_name = "FOLDER")]
        output: Option<PathBuf>,
        /// Run nothing: show what the notebooks have in their files (pictures then stand still)
        #[arg(long)]
        as_committed: bool,
    },
    /// Remove what the lab has set up, for all clones; `rust-src`, if it was added, stays
    Clean,
    /// Say what is there, what is missing and how to get it
    Doctor,
}

#[derive(Debug, Args)]
struct Verify {
    #[command(subcommand)]
    part: Option<Part>,
    /// Also what takes long: of the crates, models of concurrency, sanitizers, valgrind, Miri; of notebooks, all in a browser, their cells under
    /// Miri, and changed at random. What is not installed is left out, and that is said
    #[arg(long, global = true)]
    full: bool,
    /// Open every notebook in a real browser, and not only two; with `notebooks`, besides running them
    #[arg(long, global = true)]
    browser: bool,
    /// Write the outputs of notebooks back where they differ from what the file has (answers are not tried then)
    #[arg(long, global = true)]
    bless: bool,
    /// The book only, as `cargo lab book` has made it: links, addresses, search, and each page in a browser
    #[arg(long)]
    book: bool,
    /// Other systems only: lints for each, and the crate's tests as Windows programs, where the tools for that are
    #[arg(long)]
    targets: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Formatting, lints, documentation and tests only
    Crate,
    /// Notebooks only: all of them, or those whose names begin as given
    Notebooks {
        /// Beginnings of names, such as 03
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Run each N times: what is up to chance shows itself
        #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "bless")]
        times: usize,
        /// Try the answers to their exercises, and nothing else
        #[arg(long, conflicts_with = "bless")]
        answers: bool,
    },
    /// Two notebooks in a real browser only, with all that a reader may do in one of them; every notebook with `--browser`
    Browser,
    /// Change cells at random, as readers do, and run them: nothing may hang, be left behind or cost the kernel.
    /// Without names, also what else readers do: items of equal names, small edits, cells that wait, folders with odd names
    Mutate {
        /// Beginnings of names, such as 03
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// How many changed cells, over all these notebooks
        #[arg(long, value_name = "N", default_value_t = verify::MUTATIONS)]
        times: usize,
        /// Where the numbers by chance begin: the same changes again
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
    },
    /// Play cells under Miri, which knows the rules of memory: those that claim to be sound, or not to be, and the right answers to exercises
    Miri {
        /// Beginnings of names, such as 03
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Rewrite notebooks and their answers as they are kept: cells as rustfmt has them, prose with one sentence a line
    Format {
        /// Beginnings of names, such as 03
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Change nothing: say what is not in form
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("\n{cause}"));
            if let Some(remedy) = remedy::of(&format!("{error:#}")) {
                eprintln!("\n{remedy}.");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<bool> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace's folder");
    match cli {
        Cli::Lab(Lab { chore, no_browser, port }) => match chore {
            None => lab::open(project, lab::Options { browser: !no_browser, port }),
            Some(Chore::Setup) => lab::set_up(project),
            Some(Chore::Reset { names, all, yes }) => lab::reset(project, &names, all, yes),
            Some(Chore::Book { output, as_committed }) => book::make(project, &book::Options { output, as_committed }),
            Some(Chore::Register) => lab::register(project),
            Some(Chore::Clean) => lab::clean(),
            Some(Chore::Doctor) => doctor::diagnose(project),
        },
        Cli::Verify(Verify { targets: true, .. }) => verify::targets(project),
        Cli::Verify(Verify { book: true, .. }) => verify::book(project),
        Cli::Verify(Verify { part, full, browser, bless, targets: false, book: false }) => {
            let in_browser = if browser || full { verify::Browser::All } else { verify::Browser::Short };
            let plan = verify::Plan {
                crates: true,
                full,
                notebooks: Some(Vec::new()),
                times: 1,
                bless,
                browser: browser.then_some(in_browser),
                only_answers: false,
            };
            let plan = match part {
                None => verify::Plan { browser: Some(in_browser), ..plan },
                Some(Part::Mutate { names, times, seed }) => return verify::mutate(project, &names, times, seed),
                Some(Part::Miri { names }) => return verify::under_miri(project, &names),
                Some(Part::Format { names, check }) => return verify::format::run(project, &names, check),
                Some(Part::Browser) => verify::Plan { crates: false, notebooks: None, browser: Some(in_browser), ..plan },
                Some(Part::Crate) => verify::Plan { notebooks: None, ..plan },
                Some(Part::Notebooks { names, times, answers }) => {
                    let browser = (browser || full).then_some(in_browser);
                    verify::Plan { crates: false, notebooks: Some(names), times, only_answers: answers, browser, ..plan }
                }
            };
            verify::verify(project, &plan)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_count_wherever_they_stand() {
        for words in [["cargo", "verify", "--full", "crate"], ["cargo", "verify", "crate", "--full"]] {
            let Cli::Verify(verify) = Cli::parse_from(words) else { panic!("{words:?}") };
            assert!(verify.full && matches!(verify.part, Some(Part::Crate)), "{words:?}");
        }
    }
}
