//! What Python calls a picture, as a stream's input.

use super::memory::Memory;
use crossalign::align::Input;
use crossalign::{Picture, PictureErrorKind};
use numpy::{PyArrayDyn, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyIterator, PyList, PyMemoryView, PyString};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;

/// The forms that are taken, for messages.
const FORMS: &str = "a path, bytes, a PIL.Image, an array [h, w, 3] of uint8, an iterable of these, an array [n, h, w, 3], or a pyarrow \
     array of binaries or paths";

/// A picture that is not yet read.
enum Source {
    File(PathBuf),
    /// A file's bytes.
    Encoded(Memory),
    /// `[height, width, 3]`
    Pixels {
        height: usize,
        width: usize,
        pixels: Memory,
    },
    /// What is there in place of a picture.
    Nothing(String),
}

impl Source {
    /// Opens the picture, without the GIL; a decoding thread's work.
    fn open(self) -> crossalign::Result<Input> {
        match self {
            Self::File(path) => Ok(path.into()),
            Self::Encoded(bytes) => Picture::decode(&bytes, &Default::default()).map(Input::Picture),
            Self::Pixels { height, width, pixels } => {
                let side = |length: usize| u32::try_from(length).map_err(|_| no_picture(format!("a side of {length}")));
                Picture::new(side(width)?, side(height)?, pixels.to_vec()).map(Input::Picture)
            }
            Self::Nothing(found) => Err(no_picture(found)),
        }
    }

    /// The picture that an object is; none where it is not one.
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let py = object.py();
        if object.is_none() {
            return Ok(Some(Self::Nothing("None".into())));
        }
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Some(Self::Encoded(Memory::of_bytes(bytes))));
        }
        if object.is_instance_of::<PyByteArray>() || object.is_instance_of::<PyMemoryView>() {
            let bytes = py.get_type::<PyBytes>().call1((object,))?; // a copy: these may change their size
            return Self::of(&bytes);
        }
        if object.is_instance_of::<PyString>() || object.hasattr("__fspath__")? {
            return Ok(Some(Self::File(object.extract()?)));
        }
        if object.is_instance_of::<PyUntypedArray>() {
            return Self::pixels(object).map(Some);
        }
        if is_of(object, "PIL.Image", "Image")? {
            let image = object.call_method1("convert", ("RGB",))?;
            let (width, height) = image.getattr("size")?.extract()?;
            let pixels = image.call_method0("tobytes")?.cast_into::<PyBytes>()?;
            return Ok(Some(Self::Pixels { height, width, pixels: Memory::of_bytes(&pixels) }));
        }
        if is_of(object, "pyarrow", "Scalar")? {
            return Self::of(&object.call_method0("as_py")?);
        }
        Ok(None)
    }

    /// The picture whose pixels an array is; a contiguous one is read in place.
    fn pixels(array: &Bound<'_, PyAny>) -> PyResult<Self> {
        let untyped = array.cast::<PyUntypedArray>()?;
        let (&[height, width, 3], Ok(_)) = (untyped.shape(), array.cast::<PyArrayDyn<u8>>()) else {
            return Ok(Self::Nothing(format!("an array {:?} of {}", untyped.shape(), untyped.dtype())));
        };
        Ok(Self::Pixels { height, width, pixels: Memory::of_array(&contiguous(array)?)? })
    }
}

/// The error of what is no picture.
fn no_picture(found: String) -> crossalign::Error {
    let (kind, expected) = (PictureErrorKind::NoPicture, FORMS.into());
    crossalign::Error::Picture { path: None, kind, found, expected, source: None }
}

/// Whether an object is of a class of a module, which is not imported for it.
fn is_of(object: &Bound<'_, PyAny>, module: &str, class: &str) -> PyResult<bool> {
    let modules = object.py().import("sys")?.getattr("modules")?;
    match modules.call_method1("get", (module,))?.getattr_opt(class)? {
        Some(class) => object.is_instance(&class),
        None => Ok(false),
    }
}

/// The array itself where its elements are contiguous, else a copy.
fn contiguous<'py>(array: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let array = array.py().import("numpy")?.call_method1("ascontiguousarray", (array,))?;
    Ok(array.cast_into::<PyArrayDyn<u8>>()?)
}

/// A picture's place in a stream's input.
pub struct Tag {
    /// Its number, from 0 on.
    pub number: usize,
    /// Its path, as Python gave it.
    pub path: Option<Py<PyAny>>,
    /// The picture, until it is opened.
    source: Option<Source>,
}

impl Tag {
    /// Opens its picture.
    pub fn open(&mut self) -> crossalign::Result<Input> {
        self.source.take().unwrap_or_else(|| Source::Nothing("nothing".into())).open()
    }
}

/// The exception that ended an input early.
pub type Raised = Arc<Mutex<Option<PyErr>>>;

/// The pictures of an argument, in order. Those of a Python iterable are asked for with the GIL, on the decoding
/// threads.
pub struct Pictures {
    rest: Rest,
    /// How many there are, where that is known.
    length: Option<usize>,
    /// The number of the next.
    next: usize,
    raised: Raised,
}

enum Rest {
    Known(vec::IntoIter<Source>),
    Iterator(Py<PyIterator>),
}

impl Pictures {
    /// The pictures of an argument, which may be one picture.
    ///
    /// # Errors
    /// When it is neither a picture nor iterable.
    pub fn of(argument: &Bound<'_, PyAny>) -> PyResult<Self> {
        let known = if let Some(pictures) = batch(argument)? {
            Some(pictures)
        } else if is_arrow(argument)? {
            Some(arrow(argument)?)
        } else {
            Source::of(argument)?.map(|picture| vec![picture])
        };
        let (length, rest) = match known {
            Some(pictures) => (Some(pictures.len()), Rest::Known(pictures.into_iter())),
            None => {
                let iterator = argument.try_iter().map_err(|_| unknown(argument))?;
                (argument.len().ok(), Rest::Iterator(iterator.unbind()))
            }
        };
        Ok(Self { rest, length, next: 0, raised: Raised::default() })
    }

    /// Their number; an iterator's are collected.
    pub fn counted(&mut self, py: Python<'_>) -> PyResult<usize> {
        if let (Rest::Iterator(iterator), None) = (&self.rest, self.length) {
            let all = PyList::new(py, iterator.bind(py).clone().collect::<PyResult<Vec<_>>>()?)?;
            (self.length, self.rest) = (Some(all.len()), Rest::Iterator(all.try_iter()?.unbind()));
        }
        Ok(self.length.unwrap_or_default())
    }

    /// Where the exception will be that ended them early.
    pub fn raised(&self) -> Raised {
        self.raised.clone()
    }

    fn pull(&mut self) -> PyResult<Option<Tag>> {
        let number = self.next;
        let (path, source) = match &mut self.rest {
            Rest::Known(pictures) => (None, pictures.next()),
            Rest::Iterator(iterator) => Python::attach(|py| {
                let Some(object) = iterator.bind(py).clone().next().transpose()? else { return Ok((None, None)) };
                let source = Source::of(&object)?.ok_or_else(|| unknown(&object))?;
                let path = matches!(source, Source::File(_)).then(|| object.unbind());
                PyResult::Ok((path, Some(source)))
            })?,
        };
        self.next += 1;
        Ok(source.map(|source| Tag { number, path, source: Some(source) }))
    }
}

impl Iterator for Pictures {
    type Item = Tag;

    fn next(&mut self) -> Option<Tag> {
        self.pull().unwrap_or_else(|error| {
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            None
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.length)
    }
}

fn unknown(object: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("pictures: found {}, expected {FORMS}", object.get_type()))
}

/// The pictures of an array `[n, h, w, 3]`; none for anything else.
fn batch(argument: &Bound<'_, PyAny>) -> PyResult<Option<Vec<Source>>> {
    let Ok(array) = argument.cast::<PyUntypedArray>() else { return Ok(None) };
    let &[count, height, width, channels] = array.shape() else { return Ok(None) };
    if channels != 3 || argument.cast::<PyArrayDyn<u8>>().is_err() {
        return Err(PyTypeError::new_err(format!(
            "pictures: found an array {:?} of {}, expected {FORMS}",
            array.shape(),
            array.dtype()
        )));
    }
    let all = Memory::of_array(&contiguous(argument)?)?;
    let size = height * width * 3;
    let picture = |i| Some(Source::Pixels { height, width, pixels: all.part(i * size..(i + 1) * size)? });
    Ok((0..count).map(picture).collect())
}

fn is_arrow(argument: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(is_of(argument, "pyarrow", "Array")? || is_of(argument, "pyarrow", "ChunkedArray")?)
}

/// The pictures of a pyarrow array: files' bytes, read in place, or paths.
fn arrow(array: &Bound<'_, PyAny>) -> PyResult<Vec<Source>> {
    if let Some(chunks) = array.getattr_opt("chunks")? {
        let chunks = chunks.try_iter()?.map(|chunk| arrow(&chunk?)).collect::<PyResult<Vec<_>>>()?;
        return Ok(chunks.into_iter().flatten().collect());
    }
    match &*array.getattr("type")?.str()?.to_string_lossy() {
        "binary" => binaries::<i32>(array, "int32"),
        "large_binary" => binaries::<i64>(array, "int64"),
        "string" | "large_string" => {
            let paths = array.call_method0("to_pylist")?;
            paths.try_iter()?.map(|path| path.and_then(|path| Ok(Source::of(&path)?.expect("text or None")))).collect()
        }
        other => Err(PyTypeError::new_err(format!("pictures: found a pyarrow array of {other}, expected {FORMS}"))),
    }
}

/// The elements of a `BinaryArray` with offsets of type `O`.
fn binaries<O>(array: &Bound<'_, PyAny>, offset_type: &str) -> PyResult<Vec<Source>>
where
    O: numpy::Element + Copy + TryInto<usize>,
{
    let (first, count): (usize, usize) = (array.getattr("offset")?.extract()?, array.len()?);
    if count == 0 {
        return Ok(Vec::new());
    }
    let numpy = array.py().import("numpy")?;
    let [_validity, offsets, data]: [Bound<'_, PyAny>; 3] = array.call_method0("buffers")?.extract()?;
    let offsets = numpy.call_method1("frombuffer", (offsets, offset_type, count + 1, first * size_of::<O>()))?;
    let offsets: PyReadonlyArray1<'_, O> = offsets.extract()?;
    let has_data = !data.is_none() && data.len()? > 0; // numpy takes no empty buffer
    let data = has_data.then(|| contiguous(&numpy.call_method1("frombuffer", (data, "uint8"))?)).transpose()?;
    let data = data.map(|data| Memory::of_array(&data)).transpose()?;
    let valid = array.call_method0("is_valid")?.call_method1("to_numpy", (false,))?;
    let valid: PyReadonlyArray1<'_, bool> = valid.extract()?;
    let element = |(ends, &valid): (&[O], &bool)| {
        let range = ends[0].try_into().ok()?..ends[1].try_into().ok()?;
        match (valid, &data) {
            (true, Some(data)) => data.part(range).map(Source::Encoded),
            (true, None) => Some(Source::Nothing("no bytes".into())),
            (false, _) => Some(Source::Nothing("null".into())),
        }
    };
    let elements: Option<_> = offsets.as_slice()?.windows(2).zip(valid.as_slice()?).map(element).collect();
    elements.ok_or_else(|| PyTypeError::new_err("pictures: found a pyarrow array with offsets outside its data"))
}
