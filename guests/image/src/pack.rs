//! From upright pixels to the tensor: order of dimensions, element type, normalization, padding.

use crate::geometry::Plan;
use crate::resample::SIZED_BYTES;
use crate::settings::{Order, Settings};

pub(crate) struct Packer {
    order: Order,
    width: usize,
    pad: [u8; 3],
    /// By channel and byte.
    values: [[f32; 256]; 3],
}

impl Packer {
    pub(crate) fn new(settings: &Settings) -> Self {
        let value = |channel, byte| settings.normalization.value(channel, byte as u8);
        Self {
            order: settings.order,
            width: settings.width,
            pad: settings.pad,
            values: std::array::from_fn(|channel| std::array::from_fn(|byte| value(channel, byte))),
        }
    }

    /// Writes `uint8` elements.
    pub(crate) fn bytes(&self, pixels: &[u8], plan: &Plan, tensor: &mut [u8]) {
        self.pack(pixels, plan, tensor, |_, byte| byte);
    }

    /// Writes `float32` elements.
    pub(crate) fn floats(&self, pixels: &[u8], plan: &Plan, tensor: &mut [f32]) {
        self.pack(pixels, plan, tensor, |channel, byte| self.values[channel][usize::from(byte)]);
    }

    fn pack<T: Copy>(&self, pixels: &[u8], plan: &Plan, tensor: &mut [T], value: impl Fn(usize, u8) -> T) {
        let pad: [T; 3] = std::array::from_fn(|channel| value(channel, self.pad[channel]));
        let out_size = plan.out();
        let is_padded = out_size.width * out_size.height * 3 < tensor.len();
        let rows = pixels.chunks_exact(out_size.width * SIZED_BYTES).zip(plan.top..);
        match self.order {
            Order::Nhwc => {
                if is_padded {
                    tensor.as_chunks_mut::<3>().0.fill(pad);
                }
                for (row, y) in rows {
                    let out = &mut tensor[(y * self.width + plan.left) * 3..][..out_size.width * 3];
                    for (out, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(row.as_chunks::<SIZED_BYTES>().0) {
                        *out = std::array::from_fn(|channel| value(channel, pixel[channel]));
                    }
                }
            }
            Order::Nchw => {
                let plane = tensor.len() / 3;
                if is_padded {
                    tensor.chunks_exact_mut(plane).zip(pad).for_each(|(plane, pad)| plane.fill(pad));
                }
                for (row, y) in rows {
                    for channel in 0..3 {
                        let start = channel * plane + y * self.width + plan.left;
                        let out = &mut tensor[start..start + out_size.width];
                        for (out, pixel) in out.iter_mut().zip(row.as_chunks::<SIZED_BYTES>().0) {
                            *out = value(channel, pixel[channel]);
                        }
                    }
                }
            }
        }
    }
}
