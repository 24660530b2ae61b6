//! Each kernel's arguments as one struct, whose fields' documentation is the kernel's contract, and the checks of it.
//!
//! Kernels take their arguments only as [`Checked`], which only a passed check creates: their code may index without
//! further checks, and a GPU kernel stays within its operands.

use super::{Backend, CropJob, CropOutput, Epilogue, PictureSize, Reduction, Shape, Shaped};
use crate::error::{Error, Result};

/// A kernel's arguments.
pub trait KernelArgs: Sized {
    /// Refuses what the kernel's contract does not allow.
    ///
    /// # Errors
    /// An [`Error::Argument`] that names the kernel and the argument.
    fn check(&self) -> Result<()>;

    /// Checks the arguments and wraps them for a backend to run.
    ///
    /// # Errors
    /// As [`KernelArgs::check`].
    fn checked(self) -> Result<Checked<Self>> {
        self.check()?;
        Ok(Checked(self))
    }
}

/// Arguments that satisfy their kernel's contract.
#[derive(Debug)]
pub struct Checked<A>(A);

impl<A> Checked<A> {
    pub(super) fn into_inner(self) -> A {
        self.0
    }
}

/// The kernel methods of a [`Backend`]: each checks its arguments and calls `run` of the module of its name on
/// `$device`.
macro_rules! kernels {
    ($self:ident, $device:expr) => {
        $crate::backend::args::kernels! { $self, $device;
            crop_resize(CropResizeArgs<'_, '_, Self>);
            linear(LinearArgs<'_, Self>);
            layer_norm(LayerNormArgs<'_, Self>);
            attention(AttentionArgs<'_, Self>);
            embed_tokens(EmbedTokensArgs<'_, Self>);
            add_positions(AddPositionsArgs<'_, Self>);
            gather_rows(GatherRowsArgs<'_, Self>);
            l2_normalize(L2NormalizeArgs<'_, Self>);
            alignment_weights(AlignmentWeightsArgs<'_, Self>);
            weighted_similarity(WeightedSimilarityArgs<'_, Self>);
        }
    };
    ($self:ident, $device:expr; $($kernel:ident($args:ident<$($of:tt),+>);)+) => {$(
        fn $kernel(&$self, args: $crate::backend::args::$args<$($of),+>) -> $crate::Result<()> {
            $kernel::run($device, $crate::backend::args::KernelArgs::checked(args)?)
        }
    )+};
}
pub(super) use kernels;

/// Arguments of [`Backend::crop_resize`].
#[derive(Debug)]
pub struct CropResizeArgs<'a, 'p, B: Backend> {
    /// Pictures and their views, all of one size.
    pub jobs: &'a [CropJob<'a, B::Picture<'p>>],
    /// Where all views are written, one after the other.
    pub output: CropOutput<'a, B::Tensor>,
}

impl<B: Backend> KernelArgs for CropResizeArgs<'_, '_, B> {
    fn check(&self) -> Result<()> {
        let size = self.jobs.first().map_or(1, |job| job.plan.size());
        for CropJob { picture, plan, views } in self.jobs {
            if picture.size() != plan.picture() {
                let (found, expected) = (picture.size(), plan.picture());
                return Err(Error::argument("crop_resize picture", format!("{found:?}"), format!("{expected:?}")));
            }
            if views.start > views.end || views.end > plan.views().len() {
                let expected = format!("a range within {}", plan.views().len());
                return Err(Error::argument("crop_resize views", format!("{views:?}"), expected));
            }
            if plan.size() != size {
                return Err(Error::argument("crop_resize view size", plan.size().to_string(), size.to_string()));
            }
        }
        let (size, views) = (size as usize, self.jobs.iter().map(|job| job.views.len()).sum::<usize>());
        match &self.output {
            CropOutput::Bytes(bytes) => {
                let expected = views * size * size * 3;
                if bytes.len() != expected {
                    let found = format!("{} bytes", bytes.len());
                    return Err(Error::argument("crop_resize output", found, format!("{expected} bytes")));
                }
            }
            CropOutput::Patches { layout, first_row, out } => {
                let patch = layout.patch() as usize;
                if !size.is_multiple_of(patch) && !self.jobs.is_empty() {
                    let expected = format!("a divisor of the view's side {size}");
                    return Err(Error::argument("crop_resize patch", patch.to_string(), expected));
                }
                let rows = views * (size / patch) * (size / patch);
                let shape = out.shape();
                if shape.cols != 3 * patch * patch || first_row.checked_add(rows).is_none_or(|end| end > shape.rows) {
                    let expected = format!("[at least {first_row} + {rows}, {}]", 3 * patch * patch);
                    return Err(Error::argument("crop_resize output", shape.to_string(), expected));
                }
            }
        }
        Ok(())
    }
}

/// Arguments of [`Backend::linear`].
#[derive(Debug)]
pub struct LinearArgs<'a, B: Backend> {
    /// `[rows, inputs]`
    pub input: &'a B::Tensor,
    /// `[outputs, inputs]`
    pub layer: &'a B::Linear,
    /// What is done with a product before it is stored.
    pub epilogue: Epilogue,
    /// `[rows, outputs]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for LinearArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (input, layer) = (self.input.shape(), self.layer.shape());
        expect_shape("linear input", input, Shape::new(input.rows, layer.cols))?;
        expect_shape("linear output", self.out.shape(), Shape::new(input.rows, layer.rows))
    }
}

/// Arguments of [`Backend::layer_norm`].
#[derive(Debug)]
pub struct LayerNormArgs<'a, B: Backend> {
    /// `[rows, D]`
    pub input: &'a B::Tensor,
    /// `[1, D]`
    pub gamma: &'a B::Tensor,
    /// `[1, D]`
    pub beta: &'a B::Tensor,
    /// Added to the variance.
    pub eps: f32,
    /// `[rows, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for LayerNormArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let input = self.input.shape();
        expect_shape("layer_norm gamma", self.gamma.shape(), Shape::new(1, input.cols))?;
        expect_shape("layer_norm beta", self.beta.shape(), Shape::new(1, input.cols))?;
        expect_shape("layer_norm output", self.out.shape(), input)
    }
}

/// Arguments of [`Backend::attention`].
#[derive(Debug)]
pub struct AttentionArgs<'a, B: Backend> {
    /// `[Q, D]`
    pub queries: &'a B::Tensor,
    /// `[R, 2·D]`: keys in the first `D` columns, values in the others.
    pub keys_values: &'a B::Tensor,
    /// Sequence `s` owns the query rows `query_offsets[s] .. query_offsets[s+1]`.
    pub query_offsets: &'a [u32],
    /// Sequence `s` owns the key rows `key_offsets[s] .. key_offsets[s+1]`, at least as many as queries.
    pub key_offsets: &'a [u32],
    /// Head `h` takes columns `h·d .. (h+1)·d` with `d = D / heads`.
    pub heads: usize,
    /// Whether query `i` of `n` sees only the first `keys − n + i + 1` keys: a sequence's queries are its last
    /// positions.
    pub causal: bool,
    /// `[Q, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for AttentionArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (queries, keys_values) = (self.queries.shape(), self.keys_values.shape());
        let (query_offsets, key_offsets, heads) = (self.query_offsets, self.key_offsets, self.heads);
        if heads == 0 || queries.cols == 0 || !queries.cols.is_multiple_of(heads) {
            let expected = format!("a divisor of the width {}", queries.cols);
            return Err(Error::argument("attention heads", heads.to_string(), expected));
        }
        expect_shape("attention keys and values", keys_values, Shape::new(keys_values.rows, 2 * queries.cols))?;
        expect_shape("attention output", self.out.shape(), queries)?;
        expect_offsets("attention query offsets", query_offsets, queries.rows)?;
        expect_offsets("attention key offsets", key_offsets, keys_values.rows)?;
        let length = |offsets: &[u32], s: usize| offsets[s + 1] - offsets[s];
        let fits = |s| length(query_offsets, s) <= length(key_offsets, s);
        if query_offsets.len() != key_offsets.len() || !(0..query_offsets.len() - 1).all(fits) {
            let found = format!("{} query and {} key offsets", query_offsets.len(), key_offsets.len());
            return Err(Error::argument(
                "attention offsets",
                found,
                "as many, no sequence with more queries than keys",
            ));
        }
        Ok(())
    }
}

/// Arguments of [`Backend::embed_tokens`].
#[derive(Debug)]
pub struct EmbedTokensArgs<'a, B: Backend> {
    /// For each row of `out`, the row of the table.
    pub tokens: &'a [u32],
    /// Sequence `s` owns the rows `offsets[s] .. offsets[s+1]`.
    pub offsets: &'a [u32],
    /// `[vocabulary, D]`
    pub table: &'a B::Tensor,
    /// `[context, D]`
    pub positions: &'a B::Tensor,
    /// `[tokens, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for EmbedTokensArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (table, positions, count) = (self.table.shape(), self.positions.shape(), self.tokens.len());
        expect_shape("embed_tokens positions", positions, Shape::new(positions.rows, table.cols))?;
        expect_shape("embed_tokens output", self.out.shape(), Shape::new(count, table.cols))?;
        expect_indices("embed_tokens token", self.tokens, table.rows)?;
        expect_offsets("embed_tokens offsets", self.offsets, count)?;
        match self.offsets.windows(2).map(|w| (w[1] - w[0]) as usize).find(|&length| length > positions.rows) {
            None => Ok(()),
            Some(length) => {
                let expected = format!("at most {} tokens", positions.rows);
                Err(Error::argument("embed_tokens sequence", format!("{length} tokens"), expected))
            }
        }
    }
}

/// Arguments of [`Backend::add_positions`], with `n` patches a view.
#[derive(Debug)]
pub struct AddPositionsArgs<'a, B: Backend> {
    /// `[views·n, D]`
    pub patches: &'a B::Tensor,
    /// `[1, D]`
    pub class: &'a B::Tensor,
    /// `[n+1, D]`
    pub positions: &'a B::Tensor,
    /// `[views·(n+1), D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for AddPositionsArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (patches, positions) = (self.patches.shape(), self.positions.shape());
        let per_view = positions.rows.saturating_sub(1);
        if per_view == 0 || !patches.rows.is_multiple_of(per_view) {
            let expected = format!("a multiple of the {per_view} patches a view, at least 1");
            return Err(Error::argument("add_positions patches", patches.to_string(), expected));
        }
        let views = patches.rows / per_view;
        expect_shape("add_positions class", self.class.shape(), Shape::new(1, patches.cols))?;
        expect_shape("add_positions positions", positions, Shape::new(positions.rows, patches.cols))?;
        expect_shape("add_positions output", self.out.shape(), Shape::new(views * positions.rows, patches.cols))
    }
}

/// Arguments of [`Backend::gather_rows`].
#[derive(Debug)]
pub struct GatherRowsArgs<'a, B: Backend> {
    /// `[·, D]`
    pub input: &'a B::Tensor,
    /// Which rows of `input`.
    pub rows: &'a [u32],
    /// The first row of `out` to write; rows outside the written range stay as they are.
    pub first_row: usize,
    /// `[at least first_row + rows, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for GatherRowsArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let input = self.input.shape();
        let (out, end) = (self.out.shape(), self.first_row.checked_add(self.rows.len()));
        if out.cols != input.cols || end.is_none_or(|end| end > out.rows) {
            let expected = format!("[at least {} + {}, {}]", self.first_row, self.rows.len(), input.cols);
            return Err(Error::argument("gather_rows output", out.to_string(), expected));
        }
        expect_indices("gather_rows row", self.rows, input.rows)
    }
}

/// Arguments of [`Backend::l2_normalize`].
#[derive(Debug)]
pub struct L2NormalizeArgs<'a, B: Backend> {
    /// `[rows, D]`
    pub tensor: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for L2NormalizeArgs<'_, B> {
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Arguments of [`Backend::alignment_weights`].
#[derive(Debug)]
pub struct AlignmentWeightsArgs<'a, B: Backend> {
    /// `[R, D]`
    pub rows: &'a B::Tensor,
    /// `[segments, D]`
    pub anchors: &'a B::Tensor,
    /// Segment `s` owns the rows `offsets[s] .. offsets[s+1]`.
    pub offsets: &'a [u32],
    /// Factor of the cosines before the softmax.
    pub scale: f32,
    /// `[1, segments]`: the lengths of the segments' weighted sums.
    pub lengths: &'a mut B::Tensor,
    /// `[1, R]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for AlignmentWeightsArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let rows = self.rows.shape();
        expect_offsets("alignment_weights offsets", self.offsets, rows.rows)?;
        let anchors = Shape::new(self.offsets.len() - 1, rows.cols);
        expect_shape("alignment_weights anchors", self.anchors.shape(), anchors)?;
        expect_shape("alignment_weights output", self.out.shape(), Shape::new(1, rows.rows))?;
        expect_shape("alignment_weights lengths", self.lengths.shape(), Shape::new(1, anchors.rows))?;
        if !self.scale.is_finite() {
            return Err(Error::argument("alignment_weights scale", self.scale.to_string(), "a finite number"));
        }
        Ok(())
    }
}

/// Arguments of [`Backend::weighted_similarity`].
#[derive(Debug)]
pub struct WeightedSimilarityArgs<'a, B: Backend> {
    /// `[V, D]`
    pub views: &'a B::Tensor,
    /// `[1, V]`
    pub view_weights: &'a B::Tensor,
    /// `[T, D]`
    pub texts: &'a B::Linear,
    /// `[1, T]`
    pub text_weights: &'a B::Tensor,
    /// Picture `p` owns the views `pictures[p] .. pictures[p+1]`.
    pub pictures: &'a [u32],
    /// Class `c` owns the texts `classes[c] .. classes[c+1]`.
    pub classes: &'a [u32],
    /// How a class's texts are reduced.
    pub reduction: Reduction,
    /// `[P, C]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for WeightedSimilarityArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (views, texts) = (self.views.shape(), self.texts.shape());
        expect_shape("weighted_similarity texts", texts, Shape::new(texts.rows, views.cols))?;
        let (view_weights, text_weights) = (self.view_weights.shape(), self.text_weights.shape());
        expect_shape("weighted_similarity view weights", view_weights, Shape::new(1, views.rows))?;
        expect_shape("weighted_similarity text weights", text_weights, Shape::new(1, texts.rows))?;
        expect_offsets("weighted_similarity classes", self.classes, texts.rows)?;
        expect_offsets("weighted_similarity pictures", self.pictures, views.rows)?;
        let out = Shape::new(self.pictures.len() - 1, self.classes.len() - 1);
        expect_shape("weighted_similarity output", self.out.shape(), out)?;
        if self.reduction == Reduction::BestMean(0) {
            return Err(Error::argument("weighted_similarity reduction", "the best 0", "at least the best 1"));
        }
        Ok(())
    }
}

/// The check of [`Backend::pack`].
pub(super) fn check_layer(shape: Shape, weight: &[f32], bias: Option<&[f32]>) -> Result<()> {
    if shape.is_empty() || weight.len() != shape.len() || bias.is_some_and(|b| b.len() != shape.rows) {
        return Err(Error::argument(
            "pack",
            format!("{} weights, {:?} biases", weight.len(), bias.map(<[f32]>::len)),
            format!("{shape} weights, none empty, a bias for each row or none"),
        ));
    }
    Ok(())
}

fn expect_shape(name: &str, found: Shape, expected: Shape) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::argument(name, found.to_string(), expected.to_string())) }
}

/// Expects offsets `0 = o₀ ≤ o₁ ≤ … = total` of at least one segment.
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
