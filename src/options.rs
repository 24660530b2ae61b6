//! Option structs gain fields over time, so users start from the default and change single fields.

/// The `with_…` methods of an options struct: each gives the options with one field changed.
macro_rules! with_fields {
    ($options:ident: $($with:ident($field:ident: $value:ty)),+ $(,)?) => {
        impl $options {$(
            #[doc = concat!("These options with another [`", stringify!($field), "`](Self::", stringify!($field), ").")]
            #[must_use]
            pub fn $with(mut self, $field: $value) -> Self {
                self.$field = $field.into();
                self
            }
        )+}
    };
}
pub(crate) use with_fields;
