use super::*;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

const FREED: &str = "let owner = Box::new(7);\nlet dangling = &raw const *owner;\n\ndrop(owner); // gone\nprintln!(\"{}\", unsafe { *dangling });";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("pinlab-miri-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Tests that need Miri do nothing where it is not.
fn live(text: &str) -> Option<Judgement> {
    Interpreter::find().ok()?;
    Some(Judgement::decide(Mode::Live, Interpreter::find, &MODELS, text, None))
}

#[track_caller]
fn assert_kind(text: &str, model: BorrowModel, headline: &str, line: usize) {
    let Some(judgement) = live(text) else { return };
    let finding = judgement.findings().iter().find(|finding| finding.model == model).expect("both were asked for");
    assert_eq!((finding.headline(), finding.line().map(|(number, _)| number)), (headline, Some(line)), "{judgement}");
}

#[test]
fn each_kind_has_its_name_and_its_line() {
    use BorrowModel::{StackedBorrows, TreeBorrows};
    assert_kind(FREED, TreeBorrows, "undefined behaviour: use after free", 5);
    let freed_in_std = "let v = vec![1];\nlet w = unsafe { std::ptr::read(&v) };\ndrop(v);\ndrop(w);";
    assert_kind(freed_in_std, StackedBorrows, "undefined behaviour: use after free", 4);
    let alias = "let mut x = 5;\nlet p = &raw mut x;\nlet r = &mut x;\n*r = 6;\nlet seen = unsafe { *p };\n*r = seen;";
    assert_kind(alias, StackedBorrows, "undefined behaviour: aliasing", 5);
    assert_kind(alias, TreeBorrows, "undefined behaviour: aliasing", 6);
    let raw = "let x: u8 = unsafe { std::mem::MaybeUninit::uninit().assume_init() };";
    assert_kind(raw, TreeBorrows, "undefined behaviour: uninitialised memory", 1);
    let odd = "let a = [0u8; 8];\nunsafe { a.as_ptr().add(1).cast::<u32>().read() };";
    assert_kind(odd, TreeBorrows, "undefined behaviour: misaligned", 2);
    assert_kind("let x: bool = unsafe { std::mem::transmute(3u8) };", TreeBorrows, "undefined behaviour: an invalid value", 1);
    let past = "let a = [0u8; 4];\nlet i = std::hint::black_box(9);\nunsafe { a.as_ptr().wrapping_add(i).read() };";
    assert_kind(past, TreeBorrows, "undefined behaviour: out of bounds", 3);
    assert_kind("unsafe { std::ptr::null::<u8>().read_volatile() };", TreeBorrows, "undefined behaviour: dangling pointer", 1);
}

#[test]
fn other_endings_are_told_apart() {
    let endings = [
        ("let text = String::from(\"x\");\nprintln!(\"{text}\");", Ending::Clean),
        ("std::mem::forget(vec![1]);", Ending::Clean),
        ("panic!(\"so\");", Ending::Panicked),
        ("let x: u8 = \"a\";", Ending::Refused),
        ("std::process::abort()", Ending::Stopped),
        // What the program says and catches is its own affair.
        ("let _ = std::panic::catch_unwind(|| panic!(\"caught\"));", Ending::Clean),
        ("let _ = std::thread::spawn(|| panic!(\"joined\")).join();", Ending::Clean),
        ("eprintln!(\"error: no route, and that is well\");", Ending::Clean),
        ("eprintln!(\"error: no route\");\npanic!(\"so\");", Ending::Panicked),
        ("eprintln!(\"error: no route\");\nlet x: bool = unsafe { std::mem::transmute(3u8) };", Ending::Undefined),
        ("eprint!(\"open\");\nlet x: bool = unsafe { std::mem::transmute(3u8) };", Ending::Undefined),
        ("let _ = std::panic::catch_unwind(|| panic!(\"caught\"));\nstd::process::exit(3)", Ending::Stopped),
        ("std::process::exit(3)", Ending::Stopped),
    ];
    for (text, ending) in endings {
        let Some(judgement) = live(text) else { return };
        assert!(judgement.findings().iter().all(|finding| finding.ending() == ending), "{text}: {judgement}");
    }
}

#[test]
fn what_both_models_say_is_said_once_and_the_cause_has_its_line() {
    let Some(judgement) = live(FREED) else { return };
    let text = judgement.to_string();
    assert!(text.starts_with("Stacked Borrows and Tree Borrows: undefined behaviour: use after free\n"), "{text}");
    for part in ["line 5    println!", "alloc1 has been freed", "line 4    drop(owner); // gone", "alloc1 was deallocated here"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn a_verdict_is_kept_to_the_letter() {
    let folder = Folder::new("kept");
    let place = |number, text: &str| Some((number, text.to_owned()));
    let kept = Kept {
        miri: "Miri of some day".into(),
        date: "2026-11-26".into(),
        findings: vec![
            Finding {
                model: BorrowModel::StackedBorrows,
                ending: Ending::Undefined,
                headline: "undefined behaviour: aliasing".into(),
                details: vec![
                    Detail { line: place(5, "println!(\"{}\", a | b);"), what: "it is not allowed".into() },
                    Detail { line: None, what: "expected: something | else".into() },
                ],
            },
            Finding { model: BorrowModel::TreeBorrows, ending: Ending::Clean, headline: "nothing".into(), details: vec![] },
        ],
    };
    kept.write(&folder.0, FREED).unwrap();
    assert_eq!(Kept::read(&folder.0, FREED), Some(kept));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

/// Invariants 1 and 2.
#[test]
fn an_edit_is_never_told_the_verdict_of_the_text_before_it() {
    let folder = Folder::new("edit");
    let kept = Kept { miri: "Miri X".into(), date: "2026-01-02".into(), findings: vec![] };
    kept.write(&folder.0, FREED).unwrap();
    let ask = |text: &str| Judgement::decide(Mode::Kept, Interpreter::find, &MODELS, text, Some(&folder.0));
    assert!(ask(FREED).to_string().contains("kept: Miri X, on 2026-01-02"), "{}", ask(FREED));
    for edited in [FREED.replace('7', "8"), FREED.replace("gone", "lost"), FREED.replace("\n\n", "\n"), format!("{FREED} ")] {
        let judgement = ask(&edited);
        assert_eq!((judgement.is_clean(), judgement.findings().len()), (None, 0));
        assert!(judgement.to_string().contains("no verdict is kept for exactly this text"), "{judgement}");
    }
    // Under the right name, but with another text.
    fs::rename(folder.0.join(fs::read_dir(&folder.0).unwrap().next().unwrap().unwrap().file_name()), folder.0.join("x")).unwrap();
    let other = FREED.replace('7', "8");
    kept.write(&folder.0, &other).unwrap();
    let name = fs::read_dir(&folder.0).unwrap().flatten().find(|entry| entry.file_name() != "x").unwrap().file_name();
    fs::rename(folder.0.join("x"), folder.0.join(name)).unwrap();
    assert_eq!(ask(&other).is_clean(), None);
}

#[test]
fn what_is_kept_can_be_made_anew_and_checked() {
    let folder = Folder::new("refresh");
    if Interpreter::find().is_err() {
        return;
    }
    let ask = |mode| Judgement::decide(mode, Interpreter::find, &[BorrowModel::TreeBorrows], FREED, Some(&folder.0));
    let check = || std::panic::catch_unwind(|| ask(Mode::Check).to_string());
    assert!(check().is_err(), "nothing is kept yet");
    let fresh = ask(Mode::Refresh);
    assert!(fresh.to_string().contains("(kept: Miri of rustc "), "{fresh}");
    assert_eq!(fresh.findings().len(), 1);
    assert_eq!(check().unwrap(), fresh.to_string());
    assert_eq!(ask(Mode::Kept).to_string(), fresh.to_string());
    // Somebody changes what is kept: it is found out, and can be mended.
    let file = fs::read_dir(&folder.0).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("use after free", "a good idea")).unwrap();
    assert!(check().is_err());
    ask(Mode::Refresh);
    assert_eq!(check().unwrap(), fresh.to_string());
}

#[test]
fn what_a_program_says_in_several_lines_is_kept_in_as_many() {
    let folder = Folder::new("lines");
    if Interpreter::find().is_err() {
        return;
    }
    let text = "eprintln!(\"one\\n\\ntwo\");\nstd::process::exit(3)";
    let ask = |mode| Judgement::decide(mode, Interpreter::find, &MODELS, text, Some(&folder.0)).to_string();
    let fresh = ask(Mode::Refresh);
    assert!(fresh.contains("            one\n            two\n"), "{fresh}");
    assert_eq!((ask(Mode::Check), ask(Mode::Kept)), (fresh.clone(), fresh));
}

#[test]
fn the_panic_that_ended_it_is_the_one_that_is_told() {
    let text = "let _ = std::panic::catch_unwind(|| panic!(\"caught\"));\npanic!(\"so\");";
    let Some(judgement) = live(text) else { return };
    assert_eq!(judgement.findings()[0].line(), Some((2, "panic!(\"so\");")), "{judgement}");
}

#[test]
fn what_is_to_be_confirmed_is_not_taken_for_confirmed_where_miri_is_missing() {
    let folder = Folder::new("missing");
    Kept { miri: "Miri X".into(), date: "2026-01-02".into(), findings: vec![] }.write(&folder.0, FREED).unwrap();
    let missing = || Err("it is not installed".to_owned());
    let ask = |mode| Judgement::decide(mode, missing, &MODELS, FREED, Some(&folder.0)).to_string();
    assert!(ask(Mode::Live).contains("kept: Miri X"), "{}", ask(Mode::Live));
    for mode in [Mode::Check, Mode::Refresh] {
        let payload = std::panic::catch_unwind(|| ask(mode)).unwrap_err();
        let said = payload.downcast_ref::<String>().unwrap();
        assert!(said.contains("Miri cannot be asked here: it is not installed"), "{said}");
    }
}

#[test]
fn the_snippet_has_the_lines_that_it_has_in_this_file() {
    let judgement = crate::miri! {
        // A comment counts as a line.
        let owner = Box::new(7);

        let dangling = &raw const *owner;
        drop(owner);
        println!("{}", unsafe { *dangling });
    };
    if let [first, _] = judgement.findings() {
        assert_eq!(first.line(), Some((6, "println!(\"{}\", unsafe { *dangling });")), "{judgement}");
    }
}

#[test]
fn days_are_those_of_the_calendar() {
    let at = |days: u64| kept::date(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + 5));
    assert_eq!(
        [at(0), at(58), at(59), at(11_016), at(20_783)],
        ["1970-01-01", "1970-02-28", "1970-03-01", "2000-02-29", "2026-11-26"]
    );
}
