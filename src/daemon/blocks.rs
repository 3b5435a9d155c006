//! Memory for the part of a body that `upload` reads before the child takes a request thread.
//!
//! The memory comes in small blocks. The C library keeps large blocks after they are freed, in each of its arenas, and
//! so for about each thread of httpd. A child keeps a few free small blocks for all its threads; the system gets the
//! others back.

use std::sync::{Mutex, PoisonError};

/// Size of a block, bytes.
pub(super) const BLOCK: usize = 64 << 10;

/// Free blocks that a child keeps.
const KEPT: usize = 16;

/// Free blocks, all empty.
static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// None is empty, but for the last one.
    blocks: Vec<Vec<u8>>,
}

impl Blocks {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// The block to append to, and how many bytes it has room for.
    pub(super) fn room(&mut self) -> (&mut Vec<u8>, usize) {
        if self.blocks.last().is_none_or(|last| last.len() >= BLOCK) {
            self.blocks.push(free_block());
        }
        let at = self.blocks.len() - 1;
        let block = &mut self.blocks[at];
        let room = BLOCK - block.len();
        (block, room)
    }

    /// The block of this number, from 0, and whether it is the last one that holds anything.
    pub(super) fn get(&self, number: usize) -> Option<(&[u8], bool)> {
        let block = self.blocks.get(number).filter(|block| !block.is_empty())?;
        Some((block, self.blocks.get(number + 1).is_none_or(Vec::is_empty)))
    }
}

fn free_block() -> Vec<u8> {
    let kept = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    kept.unwrap_or_else(|| Vec::with_capacity(BLOCK))
}

impl Drop for Blocks {
    fn drop(&mut self) {
        if self.blocks.is_empty() {
            return;
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        for mut block in self.blocks.drain(..).filter(|block| block.capacity() <= BLOCK) {
            if free.len() >= KEPT {
                break;
            }
            block.clear();
            free.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes bytes in, in pieces of at most `most`.
    fn filled(bytes: &[u8], most: usize) -> Blocks {
        let mut blocks = Blocks::default();
        let mut left = bytes;
        while !left.is_empty() {
            let (block, room) = blocks.room();
            let (part, rest) = left.split_at(left.len().min(room).min(most));
            block.extend_from_slice(part);
            left = rest;
        }
        blocks
    }

    #[test]
    fn bytes_come_back_in_order_and_the_last_block_is_known() {
        for (size, most) in [(1, 10), (BLOCK - 1, 8192), (BLOCK, 8192), (BLOCK + 1, BLOCK), (3 * BLOCK, 8000)] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let blocks = filled(&bytes, most);
            assert_eq!(blocks.len(), size);
            let all: Vec<_> = (0..).map_while(|number| blocks.get(number)).collect();
            assert_eq!(all.iter().map(|(block, _)| *block).collect::<Vec<_>>().concat(), bytes);
            let lasts: Vec<_> = all.iter().map(|(_, is_last)| *is_last).collect();
            assert_eq!(lasts.iter().filter(|is_last| **is_last).count(), 1);
            assert_eq!(lasts.last(), Some(&true), "{size}");
        }
    }

    #[test]
    fn a_block_that_nothing_came_for_is_none() {
        let mut blocks = filled(&[1; BLOCK], BLOCK);
        blocks.room();
        assert_eq!(blocks.get(0).map(|(block, is_last)| (block.len(), is_last)), Some((BLOCK, true)));
        assert_eq!((blocks.get(1), Blocks::default().get(0)), (None, None));
    }

    #[test]
    fn a_child_keeps_a_few_free_blocks() {
        drop(filled(&vec![1; (KEPT + 9) * BLOCK], BLOCK));
        let free = FREE.lock().unwrap();
        assert!(free.len() <= KEPT && free.iter().all(|block| block.is_empty() && block.capacity() <= BLOCK));
    }
}
