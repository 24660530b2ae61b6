//! The walk through the entropy-coded data of one scan.

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

/// How a block is coded: the first and the last of its coefficients.
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
        // A scan of one component has its blocks alone (A.2.2).
        let mcus = match components.as_slice() {
            [] => return Err(wrong()),
            [one] => one.component.blocks,
            _ => several,
        };
        Ok(Self { mcus, components, coding, restart })
    }

    /// Walks through all blocks; returns how many bytes of `data` they take, and a few behind at most.
    pub(super) fn walk(mut self, data: &[u8]) -> Result<usize> {
        let mut bits = Bits::new(data);
        self.blocks(&mut bits).map_err(|fault| match fault {
            Fault::Missing => truncated("that ends in the middle of its scan data"),
            Fault::NoCode => damaged("with damaged scan data"),
            Fault::NoTable => damaged("without the Huffman tables of its scan"),
        })?;
        Ok(bits.position())
    }

    fn blocks(&mut self, bits: &mut Bits) -> Result<(), Fault> {
        let (coding, single) = (self.coding, self.components.len() == 1);
        let (mut run, mut since_restart) = (0, 0);
        for row in 0..self.mcus.1 {
            for column in 0..self.mcus.0 {
                if self.restart > 0 && since_restart == self.restart {
                    bits.restart()?;
                    (run, since_restart) = (0, 0);
                }
                since_restart += 1;
                for Part { component, dc, ac } in &mut self.components {
                    let (across, down) = if single { (1, 1) } else { (component.horizontal, component.vertical) };
                    for y in row * down..(row + 1) * down {
                        for x in column * across..(column + 1) * across {
                            let nonzero = component.nonzero.get_mut((y * component.stride + x) as usize);
                            block(bits, coding, *dc, *ac, nonzero.unwrap_or(&mut 0), &mut run)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads one block. `nonzero` says which of its coefficients are not zero, `run` how many blocks have no further
/// coefficients to be read but corrections of such.
fn block(
    bits: &mut Bits,
    coding: Coding,
    dc: Option<&Huffman>,
    ac: Option<&Huffman>,
    nonzero: &mut u64,
    run: &mut u32,
) -> Result<(), Fault> {
    let (dc, ac) = (dc.ok_or(Fault::NoTable), ac.ok_or(Fault::NoTable));
    match coding {
        Coding::Sequential => {
            difference(bits, dc?)?;
            coefficients(bits, ac?, 1, 63, nonzero, run)?;
            *run = 0;
        }
        Coding::DcFirst => difference(bits, dc?)?,
        Coding::DcRefined => _ = bits.read(1)?,
        Coding::AcFirst(..) if *run > 0 => *run -= 1,
        Coding::AcFirst(first, last) => coefficients(bits, ac?, first, last, nonzero, run)?,
        Coding::AcRefined(first, last) => refinement(bits, ac?, first, last, nonzero, run)?,
    }
    Ok(())
}

/// A DC coefficient (F.2.2.1).
fn difference(bits: &mut Bits, table: &Huffman) -> Result<(), Fault> {
    match bits.symbol(table)? {
        0..16 => Ok(()),
        _ => Err(Fault::NoCode),
    }
}

/// AC coefficients (F.2.2.2, and G.1.2.2 for runs of blocks, which sequential scans do not have).
fn coefficients(
    bits: &mut Bits,
    table: &Huffman,
    first: u32,
    last: u32,
    nonzero: &mut u64,
    run: &mut u32,
) -> Result<(), Fault> {
    let mut at = first;
    while at <= last {
        let symbol = u32::from(bits.symbol(table)?);
        let (zeros, size) = (symbol >> 4, symbol & 15);
        if size == 0 && zeros < 15 {
            *run = (1 << zeros) - 1 + bits.read(zeros)?;
            break;
        }
        at += zeros;
        if size > 0 {
            *nonzero |= 1u64.checked_shl(at).unwrap_or(0);
        }
        at += 1;
    }
    Ok(())
}

/// One more bit of AC coefficients (G.1.2.3).
fn refinement(
    bits: &mut Bits,
    table: &Huffman,
    first: u32,
    last: u32,
    nonzero: &mut u64,
    run: &mut u32,
) -> Result<(), Fault> {
    let mut at = first;
    while at <= last && *run == 0 {
        let symbol = u32::from(bits.symbol(table)?);
        let (mut zeros, size) = (symbol >> 4, symbol & 15);
        if size == 0 && zeros < 15 {
            *run = (1 << zeros) + bits.read(zeros)?;
            break;
        }
        // A size of 1: a coefficient that is not zero from here on, whose sign was left behind with the symbol.
        while at <= last {
            if *nonzero >> at & 1 == 1 {
                bits.read(1)?;
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
    if *run > 0 {
        for at in at..=last {
            if *nonzero >> at & 1 == 1 {
                bits.read(1)?;
            }
        }
        *run -= 1;
    }
    Ok(())
}
