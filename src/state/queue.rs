//! A queue whose clones share what they have in common.
//!
//! It grows at its end and shrinks at its front. All but the newest items lie in chunks that never change, so a clone
//! copies a pointer a chunk and the few items behind them, however long the queue is.

use std::collections::VecDeque;
use std::ops::Index;
use std::sync::Arc;

/// Items of a chunk.
const CHUNK: usize = 256;

/// A queue whose clones share what they have in common.
#[derive(Clone, Debug)]
pub(super) struct Queue<T> {
    /// The older items, each chunk full.
    chunks: VecDeque<Arc<Vec<T>>>,
    /// So many of the oldest items are out of the queue: they go with their chunk.
    gone: usize,
    /// The newest items, fewer than a chunk.
    open: Vec<T>,
}

impl<T> Queue<T> {
    /// How many items it has.
    pub(super) fn len(&self) -> usize {
        self.chunks.len() * CHUNK + self.open.len() - self.gone
    }

    /// The oldest item.
    pub(super) fn front(&self) -> Option<&T> {
        self.get(0)
    }

    /// That item, counted from the oldest.
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let at = self.gone + index;
        match self.chunks.get(at / CHUNK) {
            Some(chunk) => chunk.get(at % CHUNK),
            None => self.open.get(at - self.chunks.len() * CHUNK),
        }
    }

    /// All items, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.iter_from(0)
    }

    /// All items from this one on.
    pub(super) fn iter_from(
        &self,
        first: usize,
    ) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        (first..self.len()).map(|index| &self[index])
    }

    /// How many of the oldest items hold `before`, which no later one does.
    pub(super) fn partition_point(&self, before: impl Fn(&T) -> bool) -> usize {
        let (mut least, mut most) = (0, self.len());
        while least < most {
            let middle = least.midpoint(most);
            match before(&self[middle]) {
                true => least = middle + 1,
                false => most = middle,
            }
        }
        least
    }

    /// Adds an item at the end.
    pub(super) fn push_back(&mut self, item: T) {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(CHUNK);
        }
        self.open.push(item);
        if self.open.len() == CHUNK {
            self.chunks
                .push_back(Arc::new(std::mem::take(&mut self.open)));
        }
    }

    /// Takes the oldest item out.
    pub(super) fn drop_front(&mut self) {
        if self.len() == 0 {
            return;
        }
        self.gone += 1;
        if self.gone == CHUNK && self.chunks.pop_front().is_some() {
            self.gone = 0;
        }
        if self.chunks.is_empty() && self.gone == self.open.len() {
            self.open.clear();
            self.gone = 0;
        }
    }
}

impl<T> Index<usize> for Queue<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        self.get(index).expect("it is in the queue")
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            gone: 0,
            open: Vec::new(),
        }
    }
}

impl<T: PartialEq> PartialEq for Queue<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Queue<T> {}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// So many are added, then so many taken out.
    type Step = (usize, usize);

    fn take(step: &Step, queue: &mut Queue<usize>, model: &mut VecDeque<usize>) {
        for item in 0..step.0 {
            queue.push_back(item);
            model.push_back(item);
        }
        for _ in 0..step.1 {
            queue.drop_front();
            model.pop_front();
        }
        assert_eq!((queue.len(), queue.front()), (model.len(), model.front()));
    }

    proptest! {
        #[test]
        fn it_holds_what_a_queue_holds_and_its_clones_stay_as_they_were(
            first in vec((0..700_usize, 0..700_usize), 0..8),
            then in vec((0..700_usize, 0..700_usize), 0..8),
        ) {
            let (mut queue, mut model) = (Queue::default(), VecDeque::new());
            first.iter().for_each(|step| take(step, &mut queue, &mut model));
            let (kept, kept_model) = (queue.clone(), model.clone());
            then.iter().for_each(|step| take(step, &mut queue, &mut model));
            prop_assert!(queue.iter().eq(model.iter()));
            prop_assert!(queue.iter().rev().eq(model.iter().rev()));
            prop_assert!(kept.iter().eq(kept_model.iter()));
            prop_assert_eq!(queue.get(queue.len()), None);
        }
    }

    #[test]
    fn what_is_sorted_is_found() {
        let mut queue = Queue::default();
        (0..1_000).for_each(|item| queue.push_back(item));
        (0..100).for_each(|_| queue.drop_front());
        for wanted in [100, 101, 355, 356, 999, 1_000] {
            let at = queue.partition_point(|item| *item < wanted);
            assert_eq!(queue.iter_from(at).next().copied().unwrap_or(1_000), wanted);
        }
    }
}
