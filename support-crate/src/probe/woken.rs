//! A future for trying an executor: woken by another thread, again and again, so that a wake comes at each moment at which one can be lost.

use crate::foreign;
use std::{
    future::poll_fn,
    hint, mem,
    sync::mpsc::{self, Receiver, TryRecvError},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

/// Leaves its waker with another thread, waits until it is polled again, and begins anew, for `time`. Gives the number of rounds.
///
/// That thread calls each waker at once, and the poll that has left it takes a little longer from round to round, 64 times, and then begins anew: so
/// some wakes come before the executor looks whether it was woken, some when it goes to sleep, and some when it sleeps. An executor that loses one of them waits for ever. Which moments are
/// met, and how often, is up to the system: that none was lost is no proof.
///
/// ```
/// let rounds = pinlab::block_on(pinlab::probe::woken_by_a_thread(std::time::Duration::from_millis(20)));
/// assert!(rounds > 0);
/// ```
///
/// # Panics
/// If no thread can be started.
pub async fn woken_by_a_thread(time: Duration) -> usize {
    let (sender, wakers) = mpsc::channel();
    // Its end is that of the channel, and so of this future.
    thread::Builder::new().spawn(move || call_each(&wakers, time)).expect("the system has a thread to spare");
    let start = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || start.elapsed() < time {
        let mut left = false;
        poll_fn(|context| {
            if mem::replace(&mut left, true) {
                return Poll::Ready(());
            }
            sender.send(context.waker().clone()).expect("the thread is there as long as this sender");
            (0..rounds % 64).for_each(|_| hint::spin_loop());
            Poll::Pending
        })
        .await;
        rounds += 1;
    }
    rounds
}

/// Calls each waker that comes; one that panics does not keep the next one from being called. It does not sleep meanwhile, so as to be in time; when `time` is
/// over twice it does: then a wake was lost.
fn call_each(wakers: &Receiver<Waker>, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time.saturating_mul(2) {
        match wakers.try_recv() {
            Ok(waker) => foreign::wake(waker),
            Err(TryRecvError::Empty) => hint::spin_loop(),
            Err(TryRecvError::Disconnected) => return,
        }
    }
    wakers.iter().for_each(foreign::wake);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoggingWaker, WakerCall, block_on};
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake};

    /// Where the thread had ended by the panic, the next waker would be left with nobody: this future's own fault, and not that of who drives it.
    #[test]
    fn a_waker_that_panics_does_not_end_the_rounds() {
        struct Breaks(Waker);
        static BROKEN: AtomicBool = AtomicBool::new(false);
        impl Wake for Breaks {
            fn wake(self: Arc<Self>) {
                self.0.wake_by_ref();
                assert!(BROKEN.swap(true, Ordering::Relaxed), "after the first wake");
            }
        }
        let (done, rounds) = mpsc::channel();
        thread::spawn(move || {
            let rounds = block_on(async {
                let mut woken = pin!(woken_by_a_thread(Duration::from_millis(200)));
                let breaks = |context: &Context<'_>| Waker::from(Arc::new(Breaks(context.waker().clone())));
                poll_fn(|context| woken.as_mut().poll(&mut Context::from_waker(&breaks(context)))).await
            });
            done.send(rounds)
        });
        assert!(rounds.recv_timeout(Duration::from_secs(20)).is_ok_and(|rounds| rounds > 0), "it waits for ever");
    }

    #[test]
    fn each_round_is_one_wake_from_another_thread() {
        let mut logging = None;
        let rounds = block_on(async {
            let mut woken = pin!(woken_by_a_thread(Duration::from_millis(20)));
            poll_fn(|context| {
                let logging = logging.get_or_insert_with(|| LoggingWaker::wrapping(context.waker()));
                woken.as_mut().poll(&mut Context::from_waker(&logging.waker()))
            })
            .await
        });
        let calls = logging.expect("it was polled").calls();
        let wakes: Vec<_> = calls.iter().filter(|(call, _)| *call == WakerCall::Wake).collect();
        assert_eq!(wakes.len(), rounds);
        assert!(wakes.iter().all(|(_, thread)| *thread == wakes[0].1 && *thread != thread::current().id()));
    }
}
