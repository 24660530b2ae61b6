//! A cache of tables on a device, keyed by their content.

use crate::error::Result;
use crate::lock::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// Bytes of tables that a device keeps; a table beyond that evicts all others.
const MAX_BYTES: usize = 16 << 20;

/// Tables on a device, keyed by their content: every layer of every forward pass needs the same ones.
#[derive(Debug)]
pub(in crate::backend) struct TableCache<T>(Mutex<HashMap<Vec<u8>, T>>);

impl<T> Default for TableCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> TableCache<T> {
    /// The table that holds `content`, uploaded on first use.
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

    /// Drops all tables; does nothing while one is being uploaded, since that upload may call this when memory runs
    /// out.
    pub(in crate::backend) fn clear(&self) {
        if let Ok(mut tables) = self.0.try_lock() {
            tables.clear();
        }
    }
}
