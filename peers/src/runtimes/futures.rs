//! The `LocalPool` of the futures crate: tasks, but neither timers nor sockets.

use std::future::Future;

use futures::executor::{LocalPool, LocalSpawner};
use futures::task::LocalSpawnExt;

use crate::runtime::{Rt, Spawn};

#[derive(Debug)]
pub(crate) struct Pool(LocalPool);

impl Rt for Pool {
    const NAME: &'static str = "LocalPool";

    fn new() -> Self {
        Self(LocalPool::new())
    }

    fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.0.run_until(future)
    }
}

impl Spawn for Pool {
    type Spawner = LocalSpawner;

    fn spawner(&self) -> LocalSpawner {
        self.0.spawner()
    }

    fn spawn<T: 'static, F: Future<Output = T> + 'static>(
        spawner: &LocalSpawner,
        future: F,
    ) -> impl Future<Output = T> + use<T, F> + 'static {
        spawner.spawn_local_with_handle(future).expect("the pool is there")
    }
}
