//! Proof that a device has done all that it was given.
//!
//! A driver may skip a submission and still report success: results would then be stale memory. At its end each
//! submission moves a token on to the next place. The token is downloaded with the results, and arrives only if no
//! submission was skipped.

/// Places of a buffer, used in turn: skipping this many submissions in a row, the very last ones, would go unnoticed.
const PLACES: u64 = 64;

pub(super) struct Receipt {
    /// The token alternates between two buffers, since a copy within one is not allowed.
    places: [wgpu::Buffer; 2],
    /// Submissions so far.
    handed: u64,
    token: u32,
}

impl Receipt {
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let (label, size) = (Some("receipt"), 4 * PLACES);
        let place = || device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false });
        let mut receipt = Self { places: [place(), place()], handed: 0, token: 0 };
        receipt.renew(queue);
        receipt
    }

    /// Encodes a submission's last commands: moves the token on.
    pub(super) fn hand_on(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let ((from, at), (to, next)) = (self.place(self.handed), self.place(self.handed + 1));
        encoder.copy_buffer_to_buffer(from, at, to, next, 4);
        encoder.clear_buffer(from, at, Some(4));
        self.handed += 1;
    }

    /// Copies the token to `offset`, behind the results; returns the value that it must have there.
    pub(super) fn copy(&self, encoder: &mut wgpu::CommandEncoder, results: &wgpu::Buffer, offset: u64) -> u32 {
        let (buffer, at) = self.place(self.handed);
        encoder.copy_buffer_to_buffer(buffer, at, results, offset, 4);
        self.token
    }

    /// Changes the token, so that one downloaded earlier is no longer valid.
    pub(super) fn renew(&mut self, queue: &wgpu::Queue) {
        self.token = self.token.wrapping_add(1).max(1);
        let (buffer, at) = self.place(self.handed);
        queue.write_buffer(buffer, at, &self.token.to_ne_bytes());
    }

    fn place(&self, number: u64) -> (&wgpu::Buffer, u64) {
        (&self.places[(number % 2) as usize], number / 2 % PLACES * 4)
    }
}
