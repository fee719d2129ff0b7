//! The runtimes under test, each in a file of its own, and which workloads each can do.

#[cfg(target_os = "linux")]
mod compio;
mod futures;
mod least;
#[cfg(target_os = "linux")]
mod monoio;
mod ours;
mod smol;
mod tokio;

use crate::runtime::{Net, Timers};
use crate::table::Table;
use crate::{blocking, scheduling, sockets, timers};

/// Every workload on every runtime that can do it. The order is that of the columns.
pub(crate) fn table() -> Table {
    let mut table = Table::default();
    add_whole::<ours::Ours>(&mut table);
    add_whole::<tokio::Tokio<tokio::CurrentThread>>(&mut table);
    add_whole::<tokio::Tokio<tokio::Local>>(&mut table);
    add_whole::<smol::Smol>(&mut table);
    blocking::add::<futures::Pool>(&mut table);
    blocking::add_threads::<futures::Pool>(&mut table);
    scheduling::add::<futures::Pool>(&mut table);
    #[cfg(target_os = "linux")]
    {
        add_whole::<compio::Compio>(&mut table);
        blocking::add::<monoio::Monoio>(&mut table);
        scheduling::add::<monoio::Monoio>(&mut table);
        timers::add::<monoio::Monoio>(&mut table);
        sockets::add::<monoio::Monoio>(&mut table);
    }
    blocking::add_alone::<ours::BlockOn>(&mut table);
    blocking::add_alone::<least::FuturesBlockOn>(&mut table);
    blocking::add_alone::<least::Pollster>(&mut table);
    blocking::add_floor(&mut table);
    scheduling::add_floor(&mut table);
    timers::add_floor(&mut table);
    sockets::add_floor(&mut table);
    table
}

/// A runtime that can do all there is.
fn add_whole<R: Net + Timers>(table: &mut Table) {
    blocking::add::<R>(table);
    blocking::add_threads::<R>(table);
    scheduling::add::<R>(table);
    timers::add::<R>(table);
    sockets::add::<R>(table);
}
