//! Parameters from one order of weights to another.
#![forbid(unsafe_code)]

use crate::error::{Buffer, StepError};
use crate::identity;
use crate::layout::Layout;
use crate::parts;

/// Copies parameters from one layout to another that is the same network, whether or not a layer is stored
/// [by output](crate::Layer::by_output) there: what a network has learned in batches goes to a device this way.
///
/// `params`: [`Layout::params_len`] of `from`; `to_params`: as many.
///
/// # Errors
/// [`StepError::Length`], or [`StepError::LayoutsDiffer`] if the layouts differ in more than that; nothing is written then.
///
/// ```
/// use microprop::{Isa, Layout, Mlp, Schedule, copy_params, init, layout};
///
/// const DESKTOP: Layout = layout!(3 => dense(8, Relu), dense(1, Sigmoid));
/// const DEVICE: Layout = layout!(3 => dense(8, Relu).by_output(), dense(1, Sigmoid));
/// let mut params = [0.0; DESKTOP.params_len()];
/// init(&DESKTOP, 7, &mut params)?;
/// // … training …
/// let mut device_params = [0.0; DEVICE.params_len()];
/// copy_params(&DESKTOP, &params, &DEVICE, &mut device_params)?;
///
/// let (x, mut y, mut workspace) = ([0.5, -1.0, 2.0], [[0.0]; 2], vec![0.0; 1000]);
/// Mlp::new(DESKTOP, Isa::SCALAR).predict(&params, &x, &mut y[0], &mut workspace)?;
/// let device = Mlp::new(DEVICE, Isa::SCALAR).with_schedule(Schedule::Lean);
/// device.predict(&device_params, &x, &mut y[1], &mut workspace)?;
/// assert_eq!(y[0], y[1]);
/// # Ok::<(), microprop::StepError>(())
/// ```
pub fn copy_params(from: &Layout<'_>, params: &[f32], to: &Layout<'_>, to_params: &mut [f32]) -> Result<(), StepError> {
    StepError::check(Buffer::Parameters, from.params_len(), params.len())?;
    if identity::but_for_order(from) != identity::but_for_order(to) {
        return Err(StepError::LayoutsDiffer);
    }
    StepError::check(Buffer::Parameters, to.params_len(), to_params.len())?;
    parts::copy(params, to_params);
    if from.is_by_output() != to.is_by_output() {
        let (width, height) = (from.first().inputs, from.first().outputs);
        let (rows, columns) = if from.is_by_output() { (height, width) } else { (width, height) };
        for row in 0..rows {
            for column in 0..columns {
                parts::set(to_params, column * rows + row, parts::element(params, row * columns + column));
            }
        }
    }
    Ok(())
}
