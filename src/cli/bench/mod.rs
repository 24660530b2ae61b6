//! `crossalign bench`

mod kernels;

use super::options::{DeviceArgs, Format, report_notes};
use super::print;
use crate::engine::Model;
use crate::error::{Error, Result};
use crate::image::{Picture, ViewSampling};
use crate::model::{Config, PictureViews};
use serde_json::json;
use std::process::ExitCode;
use std::time::Instant;

/// Timed runs, after one to warm up; more of short ones, until they have taken `SECONDS`.
const RUNS: usize = 5;
const SECONDS: f64 = 2.0;

/// Time the encoder of an architecture on random weights
///
/// A run takes all views of one 512×512 picture from bytes to embeddings: crop, resize, normalise, encode.
/// On a GPU, one more run is profiled: dispatches, bytes that they must move, operations and device time.
#[derive(clap::Args)]
pub(super) struct Args {
    /// ViT-B-32, ViT-B-16, ViT-L-14 or ViT-L-14-336
    #[arg(long)]
    arch: String,
    /// Views a run, the global one among them
    #[arg(long, default_value_t = 61)]
    views: usize,
    #[command(flatten)]
    device: DeviceArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        if self.views == 0 {
            return Err(Error::argument("views", "0", "at least 1"));
        }
        let config = Config::named(&self.arch)?;
        let gflop = config.vision_flops() * self.views as f64 / 1e9;
        let model = Model::random(config, &self.device.options()?)?;
        report_notes(model.device_notes());
        let picture = waves(512)?;
        let boxes = ViewSampling { count: self.views - 1, ..Default::default() }.boxes(picture.as_rgb())?;
        let plan = model.config().plan_views((512, 512), &boxes)?;
        let job = PictureViews { picture: picture.as_rgb(), plan: &plan };
        let time = || -> Result<f64> {
            let start = Instant::now();
            model.encode_views(&[job], true)?;
            Ok(start.elapsed().as_secs_f64())
        };
        time()?;
        let mut seconds = Vec::new();
        while seconds.len() < RUNS || seconds.iter().sum::<f64>() < SECONDS {
            seconds.push(time()?);
        }
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let threads = model.threads();
        let (rate, speed) = (self.views as f64 / median, gflop / median);
        let (profiled, profile) = model.profile(|| model.encode_views(&[job], true));
        profiled?;
        print(match self.format {
            Format::Json => {
                let mut line = json!({
                    "arch": self.arch, "device": model.device(), "precision": model.precision().to_string(),
                    "threads": threads, "views": self.views, "seconds_median": median, "views_per_s": rate,
                    "gflop_per_s": speed,
                });
                if let Some(profile) = profile {
                    line["profile"] = kernels::json(&profile);
                }
                format!("{line}\n")
            }
            Format::Text => {
                let text = format!(
                    "{} {} on {}: {rate:.2} views/s, {speed:.1} GFLOP/s (median of {} runs of {} views, {median:.4} s)\n",
                    self.arch,
                    model.precision(),
                    model.device(),
                    seconds.len(),
                    self.views,
                );
                text + &profile.as_ref().map(kernels::text).unwrap_or_default()
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A picture with structure everywhere.
fn waves(side: u32) -> Result<Picture> {
    let wave = |i: u32, period: f32| ((i as f32 / period).sin() * 60.0 + 128.0) as u8;
    let pixel = |i: u32| [wave(i % side, 7.0), wave(i / side, 11.0), wave(i % side + i / side, 17.0)];
    Picture::new(side, side, (0..side * side).flat_map(pixel).collect())
}
