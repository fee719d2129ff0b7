//! `probe!` answers as the trait solver does, for types of every kind.

use pinlab::{probe, probe::TraitsRow, probe_val};
use std::{future::Future, marker::PhantomPinned, pin::Pin, rc::Rc};

fn facts(row: &TraitsRow) -> (Option<usize>, bool, bool, Option<bool>) {
    (row.size(), row.is_unpin(), row.is_future(), row.is_send())
}

#[test]
fn types_with_a_name() {
    struct Own(#[expect(dead_code)] u16, PhantomPinned);
    let _ = Own(0, PhantomPinned).1;
    let table = probe!(i32, String, Own, Pin<Box<Own>>, &Own, Rc<u8>, *const u8, (), [u8; 1 << 20]);
    let rows: Vec<_> = table.rows().iter().map(facts).collect();
    assert_eq!(
        rows,
        [
            (Some(4), true, false, Some(true)),
            (Some(3 * size_of::<usize>()), true, false, Some(true)),
            (Some(2), false, false, Some(true)),
            (Some(size_of::<usize>()), true, false, Some(true)),
            (Some(size_of::<usize>()), true, false, Some(true)),
            (Some(size_of::<usize>()), true, false, Some(false)),
            (Some(size_of::<usize>()), true, false, Some(false)),
            (Some(0), true, false, Some(true)),
            (Some(1 << 20), true, false, Some(true)),
        ]
    );
    assert_eq!(table.rows()[2].align(), Some(2));
}

#[test]
fn types_without_a_size() {
    let table = probe!(str, [u64], dyn Future<Output = ()>, dyn Future<Output = ()> + Unpin + Send);
    let rows: Vec<_> = table.rows().iter().map(facts).collect();
    assert_eq!(
        rows,
        [
            (None, true, false, Some(true)),
            (None, true, false, Some(true)),
            (None, false, true, Some(false)),
            (None, true, true, Some(true)),
        ]
    );
}

#[test]
fn boxes_and_references_of_futures() {
    type Erased = dyn Future<Output = u8>;
    // A box is always `Unpin`, and a future only if what is in it is one that may move.
    let rows: Vec<_> = probe!(Box<Erased>, Pin<Box<Erased>>, std::future::Ready<u8>, Box<std::future::Ready<u8>>)
        .rows()
        .iter()
        .map(|row| (row.is_unpin(), row.is_future()))
        .collect();
    assert_eq!(rows, [(true, false), (true, true), (true, true), (true, true)]);
}

#[test]
fn values_whose_type_has_no_name() {
    async fn function(_: Rc<u8>) {}
    let captured = String::from("x");
    let closure = || captured.len();
    let mut block = async { 7 };
    let table = probe_val!(closure, block, &mut block, function(Rc::new(1)), *"text");
    let rows: Vec<_> = table.rows().iter().map(facts).collect();
    assert_eq!(rows[0], (Some(size_of::<usize>()), true, false, None));
    assert_eq!((rows[1].1, rows[1].2), (false, true));
    assert_eq!((rows[2].1, rows[2].2), (true, false));
    assert_eq!((rows[3].1, rows[3].2), (false, true));
    assert_eq!(rows[4], (None, true, false, None));
    // What it holds does not matter: it is not asked about `Send`.
    let shared: Vec<Box<dyn Future<Output = ()>>> = vec![];
    assert!(probe_val!(|| shared.len()).rows()[0].is_unpin());
    assert_eq!(closure(), 1);
    let _ = &mut block;
}

#[test]
fn the_table_is_in_columns() {
    let text = probe!(i32, dyn Future<Output = ()>).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
    assert!(lines[2].contains('–'), "{text}");
}
