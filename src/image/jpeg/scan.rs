//! The walk through the entropy-coded data of one scan. Values are skipped; only which coefficients are not zero is
//! kept, since a refinement scan has a correction bit for each of these.

use super::huffman::{Bits, Fault, Huffman};
use super::{Component, Frame, Pending, damaged, truncated};
use crate::error::Result;

/// A scan as its header tells it (T.81, B.2.3).
pub(super) struct Scan<'a> {
    mcus: (u32, u32),
    components: Vec<Part<'a>>,
    coding: Coding,
    restart: u32,
}

/// A component in a scan.
struct Part<'a> {
    component: &'a mut Component,
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
}

/// How a scan codes a block; for AC scans, the first and the last of its coefficients.
#[derive(Clone, Copy)]
enum Coding {
    Sequential,
    DcFirst,
    DcRefined,
    AcFirst(u32, u32),
    AcRefined(u32, u32),
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        segment: &[u8],
        frame: &'a mut Frame,
        tables: &'a [[Option<Huffman>; 4]; 2],
        restart: u32,
    ) -> Result<Self> {
        let wrong = || damaged("with a damaged scan header");
        let (&count, rest) = segment.split_first().ok_or_else(wrong)?;
        let (chosen, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(wrong)?;
        let &[first, last, approximation] = rest.first_chunk().ok_or_else(wrong)?;
        let (first, last) = (u32::from(first), u32::from(last));
        let coding = match (frame.progressive, first, approximation >> 4) {
            (false, ..) => Coding::Sequential,
            (true, 0, 0) if last == 0 => Coding::DcFirst,
            (true, 0, _) if last == 0 => Coding::DcRefined,
            (true, 1.., refined) if first <= last && last <= 63 && count == 1 => match refined {
                0 => Coding::AcFirst(first, last),
                _ => Coding::AcRefined(first, last),
            },
            _ => return Err(wrong()),
        };
        let brought = match coding {
            Coding::Sequential => 0..64,
            _ => first as usize..last as usize + 1,
        };
        let pending = if frame.progressive && approximation & 15 > 0 { Pending::Low } else { Pending::None };
        let several = frame.mcus();
        let mut left: Vec<_> = frame.components.iter_mut().map(Some).collect();
        let mut components = Vec::new();
        for &[id, places] in chosen.as_chunks().0 {
            let place =
                left.iter().position(|component| component.as_ref().is_some_and(|component| component.id == id));
            let component = place.and_then(|place| left[place].take()).ok_or_else(wrong)?;
            component.pending[brought.clone()].fill(pending);
            let table = |class: usize, place: u8| tables[class].get(usize::from(place)).and_then(Option::as_ref);
            components.push(Part { component, dc: table(0, places >> 4), ac: table(1, places & 15) });
        }
        // A scan of one component is not interleaved: an MCU is one of its blocks (A.2.2).
        let mcus = match components.as_slice() {
            [] => return Err(wrong()),
            [one] => one.component.blocks,
            _ => several,
        };
        Ok(Self { mcus, components, coding, restart })
    }

    /// Walks through all blocks; returns how many bytes of `data` were read, at most a few more than the blocks take.
    pub(super) fn walk(mut self, data: &[u8]) -> Result<usize> {
        let mut blocks = Blocks { bits: Bits::new(data), run: 0 };
        self.blocks(&mut blocks).map_err(|fault| match fault {
            Fault::Missing => truncated("that ends in the middle of its scan data"),
            Fault::NoCode => damaged("with damaged scan data"),
            Fault::NoTable => damaged("without the Huffman tables of its scan"),
        })?;
        Ok(blocks.bits.position())
    }

    fn blocks(&mut self, blocks: &mut Blocks) -> Result<(), Fault> {
        let (coding, single) = (self.coding, self.components.len() == 1);
        let mut since_restart = 0;
        for row in 0..self.mcus.1 {
            for column in 0..self.mcus.0 {
                if self.restart > 0 && since_restart == self.restart {
                    blocks.bits.restart()?;
                    (blocks.run, since_restart) = (0, 0);
                }
                since_restart += 1;
                for Part { component, dc, ac } in &mut self.components {
                    let (across, down) = if single { (1, 1) } else { (component.horizontal, component.vertical) };
                    for y in row * down..(row + 1) * down {
                        for x in column * across..(column + 1) * across {
                            let nonzero = component.nonzero.get_mut((y * component.stride + x) as usize);
                            blocks.read(coding, *dc, *ac, nonzero.unwrap_or(&mut 0))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads the blocks of a scan one after the other.
struct Blocks<'a> {
    bits: Bits<'a>,
    /// The rest of an end-of-band run: blocks, from this one on, with no new coefficients but only correction bits.
    run: u32,
}

impl Blocks<'_> {
    /// Reads one block. `nonzero` says which of its coefficients are not zero.
    fn read(
        &mut self,
        coding: Coding,
        dc: Option<&Huffman>,
        ac: Option<&Huffman>,
        nonzero: &mut u64,
    ) -> Result<(), Fault> {
        let (dc, ac) = (dc.ok_or(Fault::NoTable), ac.ok_or(Fault::NoTable));
        match coding {
            Coding::Sequential => {
                self.difference(dc?)?;
                self.coefficients(ac?, 1, 63, nonzero)?;
                self.run = 0;
            }
            Coding::DcFirst => self.difference(dc?)?,
            Coding::DcRefined => _ = self.bits.read(1)?,
            Coding::AcFirst(first, last) => {
                if self.run == 0 {
                    self.coefficients(ac?, first, last, nonzero)?;
                }
                self.run = self.run.saturating_sub(1);
            }
            Coding::AcRefined(first, last) => self.refinement(ac?, first, last, nonzero)?,
        }
        Ok(())
    }

    /// A DC coefficient (F.2.2.1).
    fn difference(&mut self, table: &Huffman) -> Result<(), Fault> {
        match self.bits.symbol(table)? {
            0..16 => Ok(()),
            _ => Err(Fault::NoCode),
        }
    }

    /// AC coefficients (F.2.2.2, and G.1.2.2 for runs of blocks, which sequential scans do not have).
    fn coefficients(&mut self, table: &Huffman, first: u32, last: u32, nonzero: &mut u64) -> Result<(), Fault> {
        let mut at = first;
        while at <= last {
            let Some((zeros, size)) = self.coefficient(table)? else { break };
            at += zeros;
            if size > 0 {
                *nonzero |= 1u64.checked_shl(at).unwrap_or(0);
            }
            at += 1;
        }
        Ok(())
    }

    /// The zeros before an AC coefficient, and its size; none where an end-of-band run begins.
    fn coefficient(&mut self, table: &Huffman) -> Result<Option<(u32, u32)>, Fault> {
        let symbol = u32::from(self.bits.symbol(table)?);
        let (zeros, size) = (symbol >> 4, symbol & 15);
        if size > 0 || zeros == 15 {
            return Ok(Some((zeros, size)));
        }
        self.run = (1 << zeros) + self.bits.read(zeros)?;
        Ok(None)
    }

    /// One more bit of AC coefficients (G.1.2.3).
    fn refinement(&mut self, table: &Huffman, first: u32, last: u32, nonzero: &mut u64) -> Result<(), Fault> {
        let mut at = first;
        while at <= last && self.run == 0 {
            let Some((mut zeros, size)) = self.coefficient(table)? else { break };
            // A size of 1 is a coefficient that becomes nonzero here; its sign bit was skipped with the symbol.
            while at <= last {
                if *nonzero >> at & 1 == 1 {
                    self.bits.read(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size > 0 && at <= last {
                *nonzero |= 1 << at;
            }
            at += 1;
        }
        if self.run > 0 {
            for at in at..=last {
                if *nonzero >> at & 1 == 1 {
                    self.bits.read(1)?;
                }
            }
            self.run -= 1;
        }
        Ok(())
    }
}
