//! Proof that a device has done all that it was given.
//!
//! A driver may end a submission without having run it, and tell success: results would then be what the memory held
//! before. Behind its work each submission hands a token on to the next place; it comes down with the results where no
//! submission was left out, and in no other case.

/// Places of a buffer, used in turn. Only if so many submissions were left out in a row, the very last ones, would it not be
/// seen.
const PLACES: u64 = 64;

pub(super) struct Receipt {
    /// The token goes from one to the other; a copy within a buffer is not allowed.
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

    /// A submission's last commands.
    pub(super) fn hand_on(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let ((from, at), (to, next)) = (self.place(self.handed), self.place(self.handed + 1));
        encoder.copy_buffer_to_buffer(from, at, to, next, 4);
        encoder.clear_buffer(from, at, Some(4));
        self.handed += 1;
    }

    /// Copies the token behind results, at an offset; what it must be there.
    pub(super) fn copy(&self, encoder: &mut wgpu::CommandEncoder, results: &wgpu::Buffer, offset: u64) -> u32 {
        let (buffer, at) = self.place(self.handed);
        encoder.copy_buffer_to_buffer(buffer, at, results, offset, 4);
        self.token
    }

    /// Another token, so that what came down before is none.
    pub(super) fn renew(&mut self, queue: &wgpu::Queue) {
        self.token = self.token.wrapping_add(1).max(1);
        let (buffer, at) = self.place(self.handed);
        queue.write_buffer(buffer, at, &self.token.to_ne_bytes());
    }

    fn place(&self, number: u64) -> (&wgpu::Buffer, u64) {
        (&self.places[(number % 2) as usize], number / 2 % PLACES * 4)
    }
}
