//! The shape checks of each kernel's contract, shared by all backends.
//!
//! A kernel calls its check first; what follows may index without further thought.

use super::{CropOutput, CropPlan, Reduction, Rgb, Shape, Shaped};
use crate::error::{Error, Result};

fn expect_shape(name: &str, found: Shape, expected: Shape) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::argument(name, found.to_string(), expected.to_string())) }
}

/// Offsets `0 = o₀ ≤ o₁ ≤ … = total`, at least one segment.
fn expect_offsets(name: &str, offsets: &[u32], total: usize) -> Result<()> {
    let ends = offsets.len() >= 2 && offsets[0] == 0 && offsets[offsets.len() - 1] as usize == total;
    if ends && offsets.is_sorted() {
        return Ok(());
    }
    let (first, last) = (offsets.first(), offsets.last());
    let found = format!("{} offsets from {first:?} to {last:?}", offsets.len());
    Err(Error::argument(name, found, format!("ascending offsets from 0 to {total}")))
}

fn expect_indices(name: &str, indices: &[u32], limit: usize) -> Result<()> {
    match indices.iter().find(|&&i| i as usize >= limit) {
        None => Ok(()),
        Some(index) => Err(Error::argument(name, index.to_string(), format!("less than {limit}"))),
    }
}

pub(super) fn pack(shape: Shape, weight: &[f32], bias: Option<&[f32]>) -> Result<()> {
    if shape.is_empty() || weight.len() != shape.len() || bias.is_some_and(|b| b.len() != shape.rows) {
        return Err(Error::argument(
            "pack",
            format!("{} weights, {:?} biases", weight.len(), bias.map(<[f32]>::len)),
            format!("{shape} weights, none empty, a bias for each row or none"),
        ));
    }
    Ok(())
}

pub(super) fn crop_resize<T: Shaped>(
    picture: Rgb<'_>,
    plan: &CropPlan,
    views: &std::ops::Range<usize>,
    output: &CropOutput<'_, T>,
) -> Result<()> {
    if (picture.width(), picture.height()) != plan.picture() {
        let (found, expected) = ((picture.width(), picture.height()), plan.picture());
        return Err(Error::argument("crop_resize picture", format!("{found:?}"), format!("{expected:?}")));
    }
    if views.start > views.end || views.end > plan.views().len() {
        let expected = format!("a range within {}", plan.views().len());
        return Err(Error::argument("crop_resize views", format!("{views:?}"), expected));
    }
    let size = plan.size() as usize;
    match output {
        CropOutput::Bytes(bytes) => {
            let expected = views.len() * size * size * 3;
            if bytes.len() != expected {
                let found = format!("{} bytes", bytes.len());
                return Err(Error::argument("crop_resize output", found, format!("{expected} bytes")));
            }
        }
        CropOutput::Patches { layout, first_row, out } => {
            let patch = layout.patch() as usize;
            if !size.is_multiple_of(patch) {
                let expected = format!("a divisor of the view's side {size}");
                return Err(Error::argument("crop_resize patch", patch.to_string(), expected));
            }
            let rows = views.len() * (size / patch) * (size / patch);
            let shape = out.shape();
            if shape.cols != 3 * patch * patch || first_row.checked_add(rows).is_none_or(|end| end > shape.rows) {
                let expected = format!("[at least {first_row} + {rows}, {}]", 3 * patch * patch);
                return Err(Error::argument("crop_resize output", shape.to_string(), expected));
            }
        }
    }
    Ok(())
}

pub(super) fn linear(input: Shape, layer: Shape, out: Shape) -> Result<()> {
    expect_shape("linear input", input, Shape::new(input.rows, layer.cols))?;
    expect_shape("linear output", out, Shape::new(input.rows, layer.rows))
}

pub(super) fn layer_norm(input: Shape, gamma: Shape, beta: Shape, out: Shape) -> Result<()> {
    expect_shape("layer_norm gamma", gamma, Shape::new(1, input.cols))?;
    expect_shape("layer_norm beta", beta, Shape::new(1, input.cols))?;
    expect_shape("layer_norm output", out, input)
}

pub(super) fn attention(
    queries: Shape,
    keys_values: Shape,
    query_offsets: &[u32],
    key_offsets: &[u32],
    heads: usize,
    out: Shape,
) -> Result<()> {
    if heads == 0 || queries.cols == 0 || !queries.cols.is_multiple_of(heads) {
        let expected = format!("a divisor of the width {}", queries.cols);
        return Err(Error::argument("attention heads", heads.to_string(), expected));
    }
    expect_shape("attention keys and values", keys_values, Shape::new(keys_values.rows, 2 * queries.cols))?;
    expect_shape("attention output", out, queries)?;
    expect_offsets("attention query offsets", query_offsets, queries.rows)?;
    expect_offsets("attention key offsets", key_offsets, keys_values.rows)?;
    let length = |offsets: &[u32], s: usize| offsets[s + 1] - offsets[s];
    let fits = |s| length(query_offsets, s) <= length(key_offsets, s);
    if query_offsets.len() != key_offsets.len() || !(0..query_offsets.len() - 1).all(fits) {
        let found = format!("{} query and {} key offsets", query_offsets.len(), key_offsets.len());
        return Err(Error::argument("attention offsets", found, "as many, no sequence with more queries than keys"));
    }
    Ok(())
}

pub(super) fn embed_tokens(tokens: &[u32], offsets: &[u32], table: Shape, positions: Shape, out: Shape) -> Result<()> {
    expect_shape("embed_tokens positions", positions, Shape::new(positions.rows, table.cols))?;
    expect_shape("embed_tokens output", out, Shape::new(tokens.len(), table.cols))?;
    expect_indices("embed_tokens token", tokens, table.rows)?;
    expect_offsets("embed_tokens offsets", offsets, tokens.len())?;
    match offsets.windows(2).map(|w| (w[1] - w[0]) as usize).find(|&length| length > positions.rows) {
        None => Ok(()),
        Some(length) => {
            let expected = format!("at most {} tokens", positions.rows);
            Err(Error::argument("embed_tokens sequence", format!("{length} tokens"), expected))
        }
    }
}

/// Returns the number of views.
pub(super) fn add_positions(patches: Shape, class: Shape, positions: Shape, out: Shape) -> Result<usize> {
    let per_view = positions.rows.saturating_sub(1);
    if per_view == 0 || !patches.rows.is_multiple_of(per_view) {
        let expected = format!("a multiple of the {per_view} patches a view, at least 1");
        return Err(Error::argument("add_positions patches", patches.to_string(), expected));
    }
    let views = patches.rows / per_view;
    expect_shape("add_positions class", class, Shape::new(1, patches.cols))?;
    expect_shape("add_positions positions", positions, Shape::new(positions.rows, patches.cols))?;
    expect_shape("add_positions output", out, Shape::new(views * positions.rows, patches.cols))?;
    Ok(views)
}

pub(super) fn gather_rows(input: Shape, rows: &[u32], out: Shape) -> Result<()> {
    expect_shape("gather_rows output", out, Shape::new(rows.len(), input.cols))?;
    expect_indices("gather_rows row", rows, input.rows)
}

pub(super) fn alignment_weights(rows: Shape, anchors: Shape, offsets: &[u32], scale: f32, out: Shape) -> Result<()> {
    expect_offsets("alignment_weights offsets", offsets, rows.rows)?;
    expect_shape("alignment_weights anchors", anchors, Shape::new(offsets.len() - 1, rows.cols))?;
    expect_shape("alignment_weights output", out, Shape::new(1, rows.rows))?;
    if !scale.is_finite() {
        return Err(Error::argument("alignment_weights scale", scale.to_string(), "a finite number"));
    }
    Ok(())
}

pub(super) fn weighted_similarity(
    views: Shape,
    view_weights: Shape,
    texts: Shape,
    text_weights: Shape,
    classes: &[u32],
    reduction: Reduction,
    out: Shape,
) -> Result<()> {
    expect_shape("weighted_similarity texts", texts, Shape::new(texts.rows, views.cols))?;
    expect_shape("weighted_similarity view weights", view_weights, Shape::new(1, views.rows))?;
    expect_shape("weighted_similarity text weights", text_weights, Shape::new(1, texts.rows))?;
    expect_offsets("weighted_similarity classes", classes, texts.rows)?;
    expect_shape("weighted_similarity output", out, Shape::new(1, classes.len() - 1))?;
    if reduction == Reduction::BestMean(0) {
        return Err(Error::argument("weighted_similarity reduction", "the best 0", "at least the best 1"));
    }
    Ok(())
}
