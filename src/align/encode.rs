//! A stream of pictures' embeddings.

use super::Views;
use super::stream::{Hardware, Stream, StreamOptions};
use super::task::{Planned, Task, jobs};
use crate::backend::Pending;
use crate::engine::{Embeddings, Model};
use crate::error::Result;
use crate::image::Picture;
use std::borrow::Cow;

impl Model {
    /// Encodes pictures as [`Model::encode_views`] does: the result of each is `[1 + views, D]`, the global view first,
    /// of unit length with `normalize`, else as projected. For the global view alone, take an empty [`Views::Boxes`].
    pub fn stream(&self, views: Views, normalize: bool, options: StreamOptions) -> Stream<Embeddings> {
        let task = Encode { model: self.clone(), views, normalize };
        Stream::new(Hardware::of(self), options, 1 + task.views.count(), task)
    }
}

struct Encode {
    model: Model,
    views: Views,
    normalize: bool,
}

impl Task<Embeddings> for Encode {
    fn plan<'p>(&self, picture: Cow<'p, Picture>) -> Result<Planned<'p>> {
        let boxes = self.views.boxes(&picture)?;
        Planned::new(&self.model, picture, boxes)
    }

    fn submit(&self, device: usize, pictures: &[Planned<'_>]) -> Result<Pending<'_, Vec<Embeddings>>> {
        let (width, views) = (self.model.config().embed, 1 + self.views.count());
        Ok(self.model.engines()[device].encode_views(&jobs(pictures), self.normalize)?.map(move |rows| {
            let rows = rows.chunks_exact(views * width);
            rows.map(|rows| Embeddings { width, data: rows.to_vec() }).collect()
        }))
    }
}
