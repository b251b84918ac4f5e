/// The tensor `scaled`.
fn write(values: &[f32], output: &mut Output) -> Result<(), Error> {
    let layout = Layout::new(&[Spec::new("scaled", Dtype::F32, [values.len() as i64])])?;
    layout.begin(output)?.elements::<f32>(0).copy_from_slice(values);
    Ok(())
}
