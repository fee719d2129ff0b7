//! The least executors: `block_on` and nothing else. No tasks, no timers, no sockets.

use std::future::Future;

use crate::runtime::Rt;

#[derive(Debug)]
pub(crate) struct Pollster;

impl Rt for Pollster {
    const NAME: &'static str = "pollster";

    fn new() -> Self {
        Self
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        pollster::block_on(future)
    }
}

#[derive(Debug)]
pub(crate) struct FuturesBlockOn;

impl Rt for FuturesBlockOn {
    const NAME: &'static str = "futures block_on";

    fn new() -> Self {
        Self
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        futures::executor::block_on(future)
    }
}
