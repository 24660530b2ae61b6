//! Huffman codes and the bits that they are read from.

/// Codes of at most so many bits are found by one table look-up.
const QUICK: usize = 9;

/// A Huffman table.
pub(super) struct Huffman {
    /// Indexed by the next `QUICK` bits: `length << 8 | value` of the code, or 0 where it is longer.
    quick: [u16; 1 << QUICK],
    /// By code length: the first 16 bits above its codes, left-aligned, and what to add to a code for its value's
    /// index.
    lengths: [(u32, i32); 17],
    values: [u8; 256],
}

impl Huffman {
    /// Makes the codes from the number of codes of each length and their values (T.81, C.2), unless there are more than
    /// fit.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let mut table = Self { quick: [0; 1 << QUICK], lengths: [(0, 0); 17], values: [0; 256] };
        table.values.get_mut(..values.len())?.copy_from_slice(values);
        let (mut code, mut index) = (0u32, 0);
        for (length, &count) in (1..).zip(counts) {
            if code + u32::from(count) > 1 << length {
                return None;
            }
            table.lengths[length].1 = index - code as i32;
            for _ in 0..count {
                if length <= QUICK {
                    let first = (code as usize) << (QUICK - length);
                    let entry = (length as u16) << 8 | u16::from(values[index as usize]);
                    table.quick[first..first + (1 << (QUICK - length))].fill(entry);
                }
                code += 1;
                index += 1;
            }
            table.lengths[length].0 = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// Length and value of the code at the start of 16 bits.
    #[inline]
    fn find(&self, bits: u16) -> Option<(u32, u8)> {
        let quick = self.quick[usize::from(bits) >> (16 - QUICK)];
        if quick != 0 {
            return Some((u32::from(quick >> 8), quick as u8));
        }
        let length = (QUICK + 1..=16).find(|&length| u32::from(bits) < self.lengths[length].0)?;
        let index = i32::from(bits >> (16 - length)) + self.lengths[length].1;
        Some((length as u32, self.values[index as usize & 255]))
    }
}

/// Why a scan cannot be read on.
pub(super) enum Fault {
    /// The data end too early.
    Missing,
    /// Bits that are no code.
    NoCode,
    /// No table came before the scan.
    NoTable,
}

/// The bits of entropy-coded data, up to a marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next byte that is not in the buffer.
    at: usize,
    /// The next bits, from the highest on; zeros behind them.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, buffer: 0, count: 0 }
    }

    /// The position behind the last byte in the buffer, never behind a marker.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Fills the buffer with at least 32 bits, or all there are up to a marker.
    #[inline]
    fn fill(&mut self) {
        match self.data[self.at..].first_chunk::<4>() {
            Some(bytes) if self.count <= 32 && !bytes.contains(&0xff) => {
                self.buffer |= u64::from(u32::from_be_bytes(*bytes)) << (32 - self.count);
                self.count += 32;
                self.at += 4;
            }
            _ => self.fill_bytewise(),
        }
    }

    fn fill_bytewise(&mut self) {
        while self.count < 32 {
            let Some(&byte) = self.data.get(self.at) else { return };
            if byte == 0xff {
                if self.data.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Reads the next code, and skips the extra bits behind it, as many as the low 4 bits of its value say.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, Fault> {
        if self.count < 32 {
            self.fill();
        }
        match table.find((self.buffer >> 48) as u16) {
            Some((length, value)) => self.leave(length + u32::from(value & 15)).map(|()| value),
            None if self.count < 16 => Err(Fault::Missing),
            None => Err(Fault::NoCode),
        }
    }

    #[inline]
    fn leave(&mut self, bits: u32) -> Result<(), Fault> {
        self.count = self.count.checked_sub(bits).ok_or(Fault::Missing)?;
        self.buffer <<= bits;
        Ok(())
    }

    /// The next bits, at most 16, as a number.
    pub(super) fn read(&mut self, bits: u32) -> Result<u32, Fault> {
        if self.count < bits {
            self.fill();
        }
        let value = self.buffer >> 32 >> (32 - bits);
        self.leave(bits).map(|()| value as u32)
    }

    /// Skips to behind the next restart marker.
    pub(super) fn restart(&mut self) -> Result<(), Fault> {
        let mut at = self.at;
        let Some(0xd0..=0xd7) = next_marker(self.data, &mut at) else { return Err(Fault::Missing) };
        *self = Self { data: self.data, at, buffer: 0, count: 0 };
        Ok(())
    }
}

/// The next marker; `at` is moved behind it. All bytes before it are skipped, fill bytes and stuffed ones (FF 00) too.
pub(super) fn next_marker(file: &[u8], at: &mut usize) -> Option<u8> {
    let found = file.get(*at..)?.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
    *at += found + 2;
    Some(file[*at - 1])
}
