//! Mapping a result's buffer for the host to read.

/// Begins to map a buffer. The future is done when the buffer is mapped, or cannot be, which its mapped range tells:
/// natively at once, for that is so when the submission has been waited for.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn begin(buffer: &wgpu::Buffer) -> impl Future<Output = ()> + Send + use<> {
    buffer.map_async(wgpu::MapMode::Read, .., |_| {});
    std::future::ready(())
}

/// Begins to map a buffer. The future is done when the buffer is mapped, or cannot be, which its mapped range tells: a
/// browser calls back.
#[cfg(target_arch = "wasm32")]
pub(super) fn begin(buffer: &wgpu::Buffer) -> impl Future<Output = ()> + Send + use<> {
    let (sender, called_back) = futures_channel::oneshot::channel();
    buffer.map_async(wgpu::MapMode::Read, .., |_| {
        let _ = sender.send(()); // unless nobody awaits it
    });
    async {
        let _ = called_back.await;
    }
}
