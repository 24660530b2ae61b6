//! Devices that a test plays.

use crossalign::align::{Hardware, Planned, Stream, StreamOptions, Task};
use crossalign::backend::Pending;
use crossalign::image::{Resize, plan_views};
use crossalign::{Picture, Result};
use std::borrow::Cow;

/// What a device makes of pictures, by their numbers.
pub type Submitted = Result<Pending<'static, Vec<u8>>>;

/// A picture of this side that bears a number.
pub fn numbered(number: u8, side: u32) -> Picture {
    Picture::new(side, side, vec![number; (side * side * 3) as usize]).unwrap()
}

/// All at once.
pub fn ready(_: usize, numbers: &[u8]) -> Submitted {
    Ok(Pending::ready(numbers.to_vec()))
}

/// What is done to pictures: `plan` learns of each when its views are planned, a single one, and `submit` gets their numbers.
pub struct Played<P, S> {
    pub plan: P,
    pub submit: S,
}

impl<P, S> Task<u8> for Played<P, S>
where
    P: Fn() + Send + Sync,
    S: Fn(usize, &[u8]) -> Submitted + Send + Sync,
{
    fn plan<'p>(&self, picture: Cow<'p, Picture>) -> Result<Planned<'p>> {
        (self.plan)();
        let plan = plan_views((picture.width(), picture.height()), &[], 1, Resize::Squash)?;
        Ok(Planned { picture, boxes: Vec::new(), plan })
    }

    fn submit(&self, device: usize, pictures: &[Planned<'_>]) -> Result<Pending<'_, Vec<u8>>> {
        let numbers: Vec<u8> = pictures.iter().map(|planned| planned.picture.as_rgb().pixels()[0]).collect();
        (self.submit)(device, &numbers)
    }
}

/// A stream that gives each picture's number, on so many devices, in batches of `batch`.
pub fn numbers(
    devices: usize,
    batch: usize,
    submit: impl Fn(usize, &[u8]) -> Submitted + Send + Sync + 'static,
) -> Stream<u8> {
    let hardware = Hardware { views: vec![batch; devices], is_host: false, alternate: false };
    Stream::new(hardware, StreamOptions::default().with_threads(3), 1, Played { plan: || (), submit })
}
