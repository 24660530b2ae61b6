//! `bind PROGRAM.wasm FOLDER`: writes the program, and the JavaScript that a page loads it by, to a folder.

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder] = arguments.as_slice() else {
        anyhow::bail!("usage: bind PROGRAM.wasm FOLDER");
    };
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(program)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(false)
        .generate(folder)
}
