//! The small model in a browser, on WebGPU: what `page/page.js` calls.

use crossalign::align::CompileOptions;
use crossalign::image::ViewSampling;
use crossalign::model::MINI_PROMPTS;
use crossalign::{Classifier, Device, Model, ModelOptions, Picture, Prompts, Views};
use wasm_bindgen::prelude::*;

type Result<T> = std::result::Result<T, JsError>;

/// Prints panics on the browser's console.
#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// Descriptions of 100 concepts, as JSON.
#[wasm_bindgen]
pub fn prompts() -> String {
    MINI_PROMPTS.into()
}

/// The model on the browser's GPU.
#[wasm_bindgen]
pub struct Mini(Model);

#[wasm_bindgen]
impl Mini {
    /// Opens the browser's adapter, whatever it is: a browser offers one.
    pub async fn open() -> Result<Mini> {
        Ok(Self(Model::mini_async(&ModelOptions::default().with_device(Device::wgpu(0))).await?))
    }

    /// What it runs on.
    pub fn device(&self) -> String {
        self.0.device()
    }

    /// Encodes descriptions, a JSON object of classes.
    pub async fn compile(&self, prompts: &str) -> Result<Classes> {
        let options = CompileOptions::default().with_keep_texts(true);
        Ok(Classes(self.0.compile_async(&Prompts::from_json(prompts)?, &options).await?))
    }
}

/// Classes that pictures are compared with.
#[wasm_bindgen]
pub struct Classes(Classifier);

#[wasm_bindgen]
impl Classes {
    /// Scores a picture, given as its file's bytes, by so many local views: JSON, as of `crossalign classify`.
    pub async fn classify(&self, file: &[u8], views: u16) -> Result<String> {
        Ok(serde_json::to_string(&self.with(views).classify_async(&decode(file)?).await?)?)
    }

    /// Shows where in a picture the evidence for a class is.
    pub async fn explain(&self, file: &[u8], views: u16, class: &str) -> Result<HeatMap> {
        let picture = decode(file)?;
        let map = self.with(views).explain_async(&picture, class).await?.heat_map(&picture);
        let (width, height) = map.dimensions();
        Ok(HeatMap {
            width,
            height,
            pixels: map.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect(),
        })
    }
}

impl Classes {
    fn with(&self, views: u16) -> Classifier {
        self.0.clone().with_views(Views::Sampled(ViewSampling { count: views.into(), ..Default::default() }))
    }
}

/// A drawn picture, as JavaScript's `ImageData` takes it.
#[wasm_bindgen]
pub struct HeatMap {
    pub width: u32,
    pub height: u32,
    pixels: Vec<u8>,
}

#[wasm_bindgen]
impl HeatMap {
    /// Red, green, blue and alpha of all pixels, row by row.
    #[wasm_bindgen(getter)]
    pub fn pixels(&self) -> wasm_bindgen::Clamped<Vec<u8>> {
        wasm_bindgen::Clamped(self.pixels.clone())
    }
}

fn decode(file: &[u8]) -> Result<Picture> {
    Ok(Picture::decode(file, &Default::default())?)
}
