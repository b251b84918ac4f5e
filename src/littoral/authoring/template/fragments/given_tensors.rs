    fn given(values: &[f32]) -> Vec<u8> {
        let layout = Layout::new(&[Spec::new("values", Dtype::F32, [values.len() as i64])]).expect("a layout");
        let mut frame = Output::default();
        layout.begin(&mut frame).expect("memory").elements::<f32>(0).copy_from_slice(values);
        frame.bytes().to_vec()
    }
