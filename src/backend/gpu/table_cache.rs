//! Tables that stay on a device, by their content.

use crate::error::Result;
use crate::lock::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// Bytes of tables that a device keeps; beyond that they are forgotten.
const MAX_BYTES: usize = 16 << 20;

/// Tables that are on a device, by their content: a forward pass needs the same ones in each layer and each time.
#[derive(Debug)]
pub(in crate::backend) struct TableCache<T>(Mutex<HashMap<Vec<u8>, T>>);

impl<T> Default for TableCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> TableCache<T> {
    /// The table that holds `content`: uploaded where it is not there yet.
    pub(in crate::backend) fn get(&self, content: &[u8], upload: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut tables = lock(&self.0);
        if let Some(table) = tables.get(content) {
            return Ok(table.clone());
        }
        if tables.keys().map(Vec::len).sum::<usize>() + content.len() > MAX_BYTES {
            tables.clear();
        }
        let table = upload()?;
        tables.insert(content.to_vec(), table.clone());
        Ok(table)
    }

    /// Forgets all tables, unless one is on its way.
    pub(in crate::backend) fn clear(&self) {
        if let Ok(mut tables) = self.0.try_lock() {
            tables.clear();
        }
    }
}
