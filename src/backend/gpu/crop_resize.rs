//! The tables that `crop_resize` reads besides pictures, and its two outputs.

use crate::backend::{CropOutput, CropPlan, CropView, Shape, Taps, Work};
use crate::error::Result;

/// Both outputs of `crop_resize` from one kernel: `patches(side, table, first_row, out)` writes patches of that side,
/// each byte looked up in the table, from that row on.
pub(in crate::backend) fn crop_output<T>(
    output: CropOutput<'_, T>,
    allocate: impl FnOnce(Shape) -> Result<T>,
    download: impl FnOnce(&T) -> Result<Vec<f32>>,
    patches: impl FnOnce(u32, &[f32], usize, &mut T) -> Result<()>,
) -> Result<()> {
    match output {
        CropOutput::Patches { layout, first_row, out } => {
            patches(layout.patch(), layout.table().as_flattened(), first_row, out)
        }
        // Bytes are patches of one pixel, looked up in a table of 0 ..= 255.
        CropOutput::Bytes(bytes) => {
            let values: Vec<f32> = (0..3 * 256).map(|i| (i % 256) as f32).collect();
            let mut out = allocate(Shape::new(bytes.len() / 3, 3))?;
            patches(1, &values, 0, &mut out)?;
            bytes.iter_mut().zip(download(&out)?).for_each(|(byte, x)| *byte = x as u8);
            Ok(())
        }
    }
}

/// Each view's left and upper edge, and the sets of taps of its columns and of its rows.
pub(in crate::backend) fn view_table(views: &[CropView]) -> Vec<[u32; 4]> {
    views.iter().map(|view| [view.x, view.y, view.horizontal as u32, view.vertical as u32]).collect()
}

/// The work of the views within `rows` of the picture: bytes of each view's box, a byte a channel, and `written`; the
/// operations of both passes on those rows.
pub(in crate::backend) fn crop_work(
    plan: &CropPlan,
    views: &[CropView],
    rows: std::ops::Range<usize>,
    written: u64,
) -> Work {
    let mut work = Work { bytes: written, flops: 0 };
    for view in views {
        let (across, down) = (&plan.taps()[view.horizontal], &plan.taps()[view.vertical]);
        let taps = |set: &Taps| (0..set.len()).map(|i| set.get(i).1.len()).sum::<usize>();
        let (top, bottom) = (view.y as usize + down.span().start, view.y as usize + down.span().end);
        let height = bottom.min(rows.end).saturating_sub(top.max(rows.start));
        work.bytes += (3 * height * across.span().len()) as u64;
        let vertical = across.len() * taps(down) * height / down.span().len().max(1);
        work.flops += (6 * (height * taps(across) + vertical)) as u64;
    }
    work
}
