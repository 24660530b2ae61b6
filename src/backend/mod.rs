//! The kernels, as one trait that every kind of device implements.
//!
//! Each method of [`Backend`] is one kernel and its documentation is the kernel's contract: shapes, layout,
//! precision and source. [`Reference`] is the contract as plain scalar code; every other backend is tested
//! against it. A backend knows matrices and pictures; it does not know what CLIP is.
//!
//! All matrices are row-major f32; activations between kernels may be f16 on CUDA. Every output element is reduced in
//! one fixed order, whatever else is in the batch and however many threads run. So results are batch-invariant: a row
//! gives the same bits in any batch.

pub mod args;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod reference;
#[cfg(feature = "wgpu")]
pub mod wgpu;

mod crop;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod gpu;
mod host;
mod huge_pages;
mod pending;
mod profile;
mod quantize;
mod reduction;
mod transformer_row;

use crate::error::Result;
use std::fmt::Debug;

pub use cpu::{Cpu, SimdLevel};
pub(crate) use crop::PRECISION_BITS;
pub use crop::{CropJob, CropOutput, CropPlan, CropView, PatchLayout, PictureSize, Rgb, Taps};
#[cfg(feature = "cuda")]
pub use cuda::{Cuda, CudaPicture, CudaTensor};
pub use host::HostTensor;
pub use pending::Pending;
pub use profile::{Dispatch, Profile, Work};
pub use reduction::Reduction;
pub use reference::Reference;
pub use transformer_row::TransformerRow;
#[cfg(feature = "wgpu")]
pub use wgpu::{Wgpu, WgpuPicture, WgpuTensor};

/// Rows and columns of a row-major matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
}

impl Shape {
    /// A shape of `rows × cols`.
    pub const fn new(rows: usize, cols: usize) -> Self {
        Self { rows, cols }
    }

    /// Number of elements; saturates, so that an absurd shape fails to allocate instead of wrapping.
    pub const fn len(self) -> usize {
        self.rows.saturating_mul(self.cols)
    }

    /// Whether there are no elements.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}]", self.rows, self.cols)
    }
}

/// Anything that has a [`Shape`].
pub trait Shaped {
    /// The matrix's shape. For packed weights: outputs × inputs.
    fn shape(&self) -> Shape;
}

/// How a backend stores the weights it packs. Sums are f32 whatever the storage.
///
/// | precision | relative error of a stored weight | largest weight |
/// | --- | --- | --- |
/// | `F32` | none | 3.4e38 |
/// | `F16` | ≤ 2⁻¹¹ (4.9e-4); none for weights given in f16 | 65,504 |
/// | `Bf16` | ≤ 2⁻⁸ (3.9e-3); none for weights given in bf16 | 3.4e38 |
/// | `Int8` | ≤ 1/254 of the largest of its row | 3.4e38 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// IEEE half precision: widened to f32 when read, or multiplied directly by a GPU's matrix units.
    F16,
    /// The upper half of an f32, widened to f32 when read; the CPU rounds the input to bf16 as well, and multiplies
    /// pairs at once where the processor can.
    Bf16,
    /// 8-bit integers, symmetric: each row of weights and each row of the input is scaled by its own largest magnitude;
    /// sums are exact, results f32. Only on the CPU and the reference backend.
    Int8,
}

impl std::str::FromStr for Precision {
    type Err = crate::Error;

    /// `f32`, `f16`, `bf16` or `int8`, or a name that PyTorch and others use: `fp32`, `float32`, `fp16`, `float16`,
    /// `half`, `bfloat16`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" | "fp32" | "float32" => Ok(Self::F32),
            "f16" | "fp16" | "float16" | "half" => Ok(Self::F16),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(crate::Error::argument("precision", format!("{text:?}"), "f32, f16, bf16 or int8")),
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

/// The non-linearity of a transformer's MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x · σ(1.702 x)`: OpenAI's weights.
    QuickGelu,
    /// `x · Φ(x)`, with the error function: LAION's and most open_clip weights.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
}

impl std::str::FromStr for Activation {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "quick_gelu" => Ok(Self::QuickGelu),
            "gelu" | "gelu_python" => Ok(Self::Gelu),
            "gelu_tanh" | "gelu_new" | "gelu_fast" | "gelu_accurate" | "gelu_pytorch_tanh" | "gelu_python_tanh" => {
                Ok(Self::GeluTanh)
            }
            _ => Err(crate::Error::argument("activation", format!("{text:?}"), "quick_gelu, gelu or gelu_tanh")),
        }
    }
}

/// What [`Backend::linear`] does with a product before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// `out = x Wᵀ + b`
    Store,
    /// `out = activation(x Wᵀ + b)`
    Activate(Activation),
    /// `out = out + x Wᵀ + b`: the residual connection.
    Accumulate,
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Cpu {}
    impl Sealed for super::Reference {}
    #[cfg(feature = "cuda")]
    impl Sealed for super::Cuda {}
    #[cfg(feature = "wgpu")]
    impl Sealed for super::Wgpu {}
}

/// One device's kernels, tensors and packed weights.
///
/// Kernels write to tensors that the caller owns and reuses. A kernel's method checks its arguments before it runs; a
/// wrong shape is an [`Error::Argument`](crate::Error) that names the kernel and the argument, and leaves all tensors
/// unchanged.
///
/// The trait is sealed: any release may add kernels, and with them required methods.
pub trait Backend: sealed::Sealed + Debug + Sized + Send + Sync {
    /// A row-major f32 matrix in the device's memory.
    type Tensor: Shaped + Debug + Send + Sync;
    /// Weights and bias of a linear layer, laid out for this device's matrix kernel.
    type Linear: Shaped + Debug + Send + Sync;
    /// A picture in memory that [`Backend::crop_resize`] reads: on the host the borrowed pixels themselves.
    type Picture<'p>: PictureSize + Debug + Send + Sync;

    /// A recorded sequence of kernels, see [`Backend::record_or_replay`].
    type Recording: Default + Send;

    /// The device in a few words: kind, instruction set, threads.
    fn describe(&self) -> String;

    /// Threads that compute on the host; 1 where a GPU computes.
    fn threads(&self) -> usize {
        1
    }

    /// Whether kernels run on the host's processors.
    fn is_host(&self) -> bool {
        false
    }

    /// Whether f16 products run on matrix units, many times as fast as f32 products.
    fn has_matrix_units(&self) -> bool {
        false
    }

    /// Runs `work` and returns what it submitted to the GPU; `None` if this backend is no GPU. Profiles do not nest,
    /// and include what other threads submit meanwhile.
    fn profile(&self, work: &mut dyn FnMut()) -> Option<Profile> {
        work();
        None
    }

    /// How many transformer rows (tokens) a batch should have on this device, at least 1; the model cuts its batches by
    /// it.
    fn preferred_rows(&self, row: TransformerRow) -> usize;

    /// A tensor of zeros.
    fn allocate(&self, shape: Shape) -> Result<Self::Tensor>;

    /// An empty tensor for values between kernels. A device may store its elements in `precision`, rounded to nearest
    /// even, and refuse it where a kernel's arguments ask for f32; by default they are f32. [`Epilogue::Accumulate`]
    /// may round the product before it is added, and the sum.
    fn activation(&self, precision: Precision) -> Result<Self::Tensor> {
        let _ = precision;
        self.allocate(Shape::new(0, 0))
    }

    /// A tensor that holds `data`, row by row.
    fn upload(&self, shape: Shape, data: &[f32]) -> Result<Self::Tensor>;

    /// Uploads a picture, for any number of calls of [`Backend::crop_resize`].
    fn upload_picture<'p>(&self, picture: Rgb<'p>) -> Result<Self::Picture<'p>>;

    /// Submits all work so far and a download of several tensors' elements, row by row; one wait is for all of them.
    /// The tensors may be changed or dropped before the wait.
    fn download_later<const N: usize>(&self, tensors: [&Self::Tensor; N]) -> Result<Pending<'_, [Vec<f32>; N]>>;

    /// The elements of several tensors, row by row, with one wait for all of them.
    fn download_all<const N: usize>(&self, tensors: [&Self::Tensor; N]) -> Result<[Vec<f32>; N]> {
        self.download_later(tensors)?.wait()
    }

    /// A tensor's elements, row by row.
    fn download(&self, tensor: &Self::Tensor) -> Result<Vec<f32>> {
        self.download_all([tensor]).map(|[elements]| elements)
    }

    /// Submits all uploads and kernels so far, on a device that would wait for more to submit; does not wait for them
    /// to finish.
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// Changes a tensor's shape. The memory is reused if it is large enough; the elements are unspecified afterwards.
    fn reshape(&self, tensor: &mut Self::Tensor, shape: Shape) -> Result<()>;

    /// Lays out the layer `x ↦ x Wᵀ + b`, with `weight` `[outputs, inputs]` row-major and `bias` `[outputs]` (`None`:
    /// zeros). The weights are rounded to `precision`, to nearest even; the bias stays f32.
    fn pack(&self, shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Result<Self::Linear>;

    /// Runs `work`, which must call kernels on the same tensors whenever it is given this `recording`, and the same
    /// kernels whenever it is given the same `key`. A device may record the kernels once and submit the recording from
    /// then on; `work` is called all the same, for its other effects. The recording must not outlive the tensors. By
    /// default nothing is recorded.
    fn record_or_replay(
        &self,
        recording: &mut Self::Recording,
        key: usize,
        mut work: impl FnMut() -> Result<()> + Send,
    ) -> Result<()> {
        let _ = (recording, key);
        work()
    }

    /// Cuts each of `plan.views()[views]` out of each job's picture, resamples it to `S×S` and writes it out, the views
    /// of all jobs in order.
    ///
    /// Resampling is Pillow's bicubic bit for bit: two passes, horizontal first, each `clip8((2²¹ + Σ w·v) >> 22)`
    /// with the integer weights of the plan's [`Taps`] and bytes in between.
    /// With [`CropOutput::Bytes`] the views are stored as `[views, S, S, 3]`. With [`CropOutput::Patches`] they are
    /// normalised by a table and stored as rows of `[views · (S/P)², 3·P·P]` from `first_row` on: patches in
    /// reading order, columns ordered channel, row, column, as CLIP's patch embedding multiplies them.
    fn crop_resize(&self, args: args::CropResizeArgs<'_, '_, Self>) -> Result<()>;

    /// `out = epilogue(input · Wᵀ + b)`: input `[rows, inputs]`, out `[rows, outputs]`. Products and sums are f32; a
    /// device may round the input to the precision that the weights are stored in.
    fn linear(&self, args: args::LinearArgs<'_, Self>) -> Result<()>;

    /// `out = (input − mean) / √(variance + eps) · γ + β` row by row, with the biased variance, in two passes.
    /// `input` and `out` are `[rows, D]`, `gamma` and `beta` `[1, D]`.
    fn layer_norm(&self, args: args::LayerNormArgs<'_, Self>) -> Result<()>;

    /// Multi-head attention: `softmax(q kᵀ / √d) v` for each sequence and each head.
    ///
    /// `queries` is `[Q, D]`; `keys_values` is `[R, 2·D]`, keys in the first `D` columns and values in the others;
    /// head `h` takes columns `h·d .. (h+1)·d` with `d = D / heads`. Sequence `s` owns the query rows
    /// `query_offsets[s] .. query_offsets[s+1]` and the key rows `key_offsets[s] .. key_offsets[s+1]`.
    /// A sequence's queries are its last positions: with `causal`, query `i` of `n` sees the first
    /// `keys − n + i + 1` keys. `out` is `[Q, D]`.
    fn attention(&self, args: args::AttentionArgs<'_, Self>) -> Result<()>;

    /// `out[r] = table[tokens[r]] + positions[r − start of r's sequence]`; sequence `s` owns the rows
    /// `offsets[s] .. offsets[s+1]`. `table` is `[vocabulary, D]`, `positions` `[context, D]`, `out` `[tokens, D]`.
    fn embed_tokens(&self, args: args::EmbedTokensArgs<'_, Self>) -> Result<()>;

    /// Puts the class token in front of each view's patches and adds the positions: with `n` patches a view,
    /// `out[v·(n+1)] = class + positions[0]` and `out[v·(n+1) + 1 + p] = patches[v·n + p] + positions[1 + p]`.
    /// `patches` is `[views·n, D]`, `class` `[1, D]`, `positions` `[n+1, D]`, `out` `[views·(n+1), D]`.
    fn add_positions(&self, args: args::AddPositionsArgs<'_, Self>) -> Result<()>;

    /// `out[first_row + i] = input[rows[i]]`.
    fn gather_rows(&self, args: args::GatherRowsArgs<'_, Self>) -> Result<()>;

    /// Divides each row by its Euclidean length, or by 1e-12 where that is longer (as PyTorch's `F.normalize`).
    fn l2_normalize(&self, args: args::L2NormalizeArgs<'_, Self>) -> Result<()>;

    /// `out[0, r] = softmax over r's segment of scale · rows[r]·anchors[s]`; segment `s` owns the rows
    /// `offsets[s] .. offsets[s+1]` and has the anchor row `s`. WCA's weights of views (the anchor is the global
    /// view) and of descriptions (the anchor is the label prompt). `out` is `[1, R]`. `lengths[0, s]` is the Euclidean
    /// length of `Σ out[0, r] · rows[r]` over the segment: what the official score divides by.
    fn alignment_weights(&self, args: args::AlignmentWeightsArgs<'_, Self>) -> Result<()>;

    /// `out[p, c] = Σᵢ wᵢ · reduction over j in class c of (vⱼ, sᵢⱼ)` over the views `i` of picture `p`, with
    /// `sᵢⱼ = views[i]·texts[j]`.
    ///
    /// `views` is `[V, D]`, `view_weights` `[1, V]`, `texts` packed `[T, D]`, `text_weights` `[1, T]`; picture `p` owns
    /// the views `pictures[p] .. pictures[p+1]`, class `c` the texts `classes[c] .. classes[c+1]`. A device may round
    /// the views to the precision that the texts are stored in. The similarities are streamed by tiles: the matrix
    /// `[V, T]` is never in memory. `out` is `[P, C]`.
    fn weighted_similarity(&self, args: args::WeightedSimilarityArgs<'_, Self>) -> Result<()>;
}
