//! Validates the kernels and generates their tables.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    cuda::generate("kernels/cuda/ptx".as_ref());
    #[cfg(feature = "wgpu")]
    wgsl::generate("kernels/wgsl".as_ref());
}

/// Generates `$OUT_DIR/cuda.rs`: a table of images, each with its kernels and the parameters that they declare. An
/// image is PTX, which the driver compiles for its card; or, if `CROSSALIGN_NVCC` is the path of an nvcc, machine code
/// for `CROSSALIGN_CUDA_ARCH` (default: native), which only that architecture runs.
#[cfg(feature = "cuda")]
mod cuda {
    use std::fmt::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    pub fn generate(folder: &Path) {
        println!("cargo::rerun-if-changed={}", folder.display());
        for variable in ["CROSSALIGN_NVCC", "CROSSALIGN_CUDA_ARCH"] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        let nvcc = std::env::var("CROSSALIGN_NVCC").ok();
        // The PTX for every card, then that for one compute capability.
        let list = |folder: PathBuf| std::fs::read_dir(folder).expect("kernels/cuda/ptx");
        let files = list(folder.into()).chain(list(folder.join("sm90"))).map(|file| file.expect("a file").path());
        let mut files: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "ptx")).collect();
        files.sort();
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let mut table = "pub const IMAGES: &[super::Image] = &[\n".to_string();
        for path in files {
            let text = std::fs::read_to_string(&path).expect("PTX can be read");
            let path = path.canonicalize().expect("a file that is there");
            // What is for one compute capability stays PTX: the architecture may be another.
            let code = match nvcc.as_ref().filter(|_| path.parent().is_some_and(|parent| !parent.ends_with("sm90"))) {
                None => format!("concat!(include_str!({path:?}), '\\0').as_bytes()"),
                Some(nvcc) => format!("include_bytes!({:?})", assemble(nvcc, &path, &out)),
            };
            let kernels: String =
                kernels(&text).iter().map(|kernel| format!("super::Kernel {{ {kernel} }}, ")).collect();
            writeln!(table, "super::Image {{ code: {code}, kernels: &[{kernels}] }},").unwrap();
        }
        std::fs::write(out.join("cuda.rs"), table + "];\n").expect("OUT_DIR can be written");
    }

    /// The fields of each kernel of a PTX file: its name, and its parameters, which are a structure, then tensor maps, then
    /// pointers.
    fn kernels(text: &str) -> Vec<String> {
        let mut lines = text.lines();
        let mut kernels = Vec::new();
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix(".visible .entry ").map(|rest| rest.trim_end_matches('(')) else {
                continue;
            };
            let parameters: Vec<&str> = lines.by_ref().take_while(|line| *line != ")").map(str::trim).collect();
            let (structure, others) = parameters.split_first().unwrap_or_else(|| panic!("{name}: no parameters"));
            let bytes = structure.contains(" .b8 ").then(|| structure.split(['[', ']']).nth(1)).flatten();
            let bytes: usize =
                bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("{name}: {structure}"));
            let is_map =
                |parameter: &&&str| parameter.starts_with(".param .align 64 .b8 ") && parameter.contains("[128]");
            let maps = others.iter().take_while(is_map).count();
            let pointers = &others[maps..];
            let other = pointers.iter().find(|parameter| !parameter.starts_with(".param .u64 "));
            assert!(other.is_none(), "{name}: {other:?} is no pointer");
            let pointers = pointers.len();
            kernels.push(format!(
                "name: {name:?}, parameters: super::Parameters {{ bytes: {bytes}, maps: {maps}, pointers: {pointers} }}"
            ));
        }
        kernels
    }

    fn assemble(nvcc: &str, ptx: &Path, out: &Path) -> PathBuf {
        let architecture = std::env::var("CROSSALIGN_CUDA_ARCH").unwrap_or_else(|_| "native".into());
        let cubin = out.join(ptx.with_extension("cubin").file_name().expect("a file"));
        let mut command = Command::new(nvcc);
        command.arg("-cubin").arg(format!("-arch={architecture}")).arg("-o").arg(&cubin).arg(ptx);
        let output = command.output().unwrap_or_else(|error| panic!("CROSSALIGN_NVCC={nvcc}: {error}"));
        assert!(output.status.success(), "{nvcc} {}: {}", ptx.display(), String::from_utf8_lossy(&output.stderr));
        cubin
    }
}

/// Generates `$OUT_DIR/wgsl.rs`: for each module of kernels/wgsl its source, bindings, overrides, constants and
/// parameter struct, as the module itself declares them, so that the host code does not repeat them.
#[cfg(feature = "wgpu")]
mod wgsl {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    use naga::{AddressSpace, Expression, Literal, Module, Scalar, StorageAccess, TypeInner};
    use std::fmt::Write;
    use std::path::{Path, PathBuf};

    pub fn generate(folder: &Path) {
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder).expect("kernels/wgsl").map(|f| f.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
        files.sort();
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let (mut table, mut wrong) = (String::new(), false);
        for path in files {
            match entry(&path, &out) {
                Ok(entry) => table += &entry,
                Err(message) => {
                    wrong = true;
                    message.lines().for_each(|line| println!("cargo::error={line}"));
                }
            }
        }
        std::fs::write(out.join("wgsl.rs"), table).expect("OUT_DIR can be written");
        if wrong {
            std::process::exit(1);
        }
    }

    /// A module followed by the files that it imports, with all `unroll` directives expanded.
    fn compose(path: &Path) -> String {
        let own = std::fs::read_to_string(path).expect("a kernel can be read");
        let imports = own.lines().filter_map(|line| line.strip_prefix("//! import "));
        let read = |name| std::fs::read_to_string(path.with_file_name("").join(name)).expect("an import can be read");
        let imported: Vec<String> = imports.map(read).collect();
        unroll(&std::iter::once(own.clone()).chain(imported).collect::<Vec<_>>().join("\n"))
    }

    /// Repeats the lines from `//! unroll NAME COUNT` to its `//! end` COUNT times, with `$NAME` replaced by 0, 1 and
    /// so on: shader compilers do not unroll a loop in which a checking layer counts, and then keep a private array
    /// that it indexes in memory.
    fn unroll(source: &str) -> String {
        let (mut out, mut lines) = (String::new(), source.lines());
        while let Some(line) = lines.next() {
            let unrolled = line.trim_start().strip_prefix("//! unroll ").and_then(|rest| rest.split_once(' '));
            let Some((name, count)) = unrolled else {
                out = out + line + "\n";
                continue;
            };
            let mut depth = 1;
            let body = lines.by_ref().take_while(|line| {
                depth += i32::from(line.trim_start().starts_with("//! unroll ")) - i32::from(line.trim() == "//! end");
                depth > 0
            });
            let body = body.collect::<Vec<_>>().join("\n");
            for turn in 0..count.parse().expect("unroll NAME COUNT") {
                let turn: u32 = turn;
                out += &unroll(&body.replace(&format!("${name}"), &turn.to_string()));
            }
        }
        out
    }

    fn entry(path: &Path, out: &Path) -> Result<String, String> {
        let (source, file) = (compose(path), path.display().to_string());
        // Written for the tests, which run the module elsewhere.
        std::fs::write(out.join(path.file_name().expect("a file")), &source).expect("OUT_DIR can be written");
        let module = naga::front::wgsl::parse_str(&source).map_err(|e| e.emit_to_string_with_path(&source, &file))?;
        // A module may request these by `enable` lines; the host uses it only if the adapter has them.
        let optional = Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP | Capabilities::COOPERATIVE_MATRIX;
        Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32 | optional)
            .validate(&module)
            .map_err(|e| e.emit_to_string_with_path(&source, &file))?;
        check_indices(&module).map_err(|span| {
            let line = source.lines().nth(span.location(&source).line_number as usize - 1).unwrap_or_default();
            format!(
                "{file}: {}: a private array or vector indexed by a variable lives in memory: unroll it",
                line.trim()
            )
        })?;
        let name = path.file_stem().unwrap().to_string_lossy();
        if module.entry_points.len() != 1 || module.entry_points[0].name != name {
            return Err(format!("{file}: one entry point, named {name}, is expected"));
        }
        let mut overrides: Vec<&str> =
            module.overrides.iter().filter_map(|(_, constant)| constant.name.as_deref()).collect();
        overrides.sort_unstable();
        let mut out = String::new();
        let (bindings, constants) = (bindings(&module), constants(&module));
        let params = params(&module, &file)?;
        writeln!(
            out,
            "/// `kernels/wgsl/{name}.wgsl`\n\
             pub mod {name} {{\n{constants}{params}\
             pub const KERNEL: super::Kernel = super::Kernel {{\n\
             name: {name:?}, bindings: &[{bindings}], overrides: &{overrides:?},\n\
             source: {source:?},\n}};\n}}"
        )
        .unwrap();
        Ok(out)
    }

    /// Rejects arrays and vectors indexed by a variable that are neither in a buffer nor in workgroup memory.
    fn check_indices(module: &Module) -> Result<(), naga::Span> {
        let functions = module.functions.iter().map(|(_, function)| function);
        for function in functions.chain(module.entry_points.iter().map(|entry| &entry.function)) {
            for (handle, expression) in function.expressions.iter() {
                let Expression::Access { mut base, .. } = *expression else { continue };
                while let Expression::Access { base: of, .. } | Expression::AccessIndex { base: of, .. } =
                    function.expressions[base]
                {
                    base = of;
                }
                let shared = match function.expressions[base] {
                    Expression::GlobalVariable(variable) => {
                        module.global_variables[variable].space != AddressSpace::Private
                    }
                    _ => false,
                };
                if !shared {
                    return Err(function.expressions.get_span(handle));
                }
            }
        }
        Ok(())
    }

    /// The variant of `Binding` for each binding, ordered by number.
    fn bindings(module: &Module) -> String {
        let mut bindings: Vec<(u32, &str)> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let kind = match variable.space {
                    AddressSpace::Uniform => "Uniform",
                    AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => "ReadWrite",
                    AddressSpace::Storage { .. } => "Read",
                    _ => return None,
                };
                Some((variable.binding.as_ref()?.binding, kind))
            })
            .collect();
        bindings.sort_unstable();
        bindings.iter().map(|(_, kind)| format!("super::Binding::{kind}")).collect::<Vec<_>>().join(", ")
    }

    /// The uniform's struct in Rust: words without padding, so that both layouts are the same.
    fn params(module: &Module, file: &str) -> Result<String, String> {
        let uniform = |(_, variable): (_, &naga::GlobalVariable)| match &module.types[variable.ty].inner {
            TypeInner::Struct { members, span } if variable.space == AddressSpace::Uniform => Some((members, *span)),
            _ => None,
        };
        let mut uniforms = module.global_variables.iter().filter_map(uniform);
        let (Some((members, span)), None) = (uniforms.next(), uniforms.next()) else {
            return Err(format!("{file}: one uniform, a struct, is expected"));
        };
        let ends = members[1..].iter().map(|next| next.offset).chain([span]);
        let mut fields = String::new();
        for ((member, end), words) in members.iter().zip(ends).zip(1..) {
            let name = member.name.as_deref().expect("WGSL names its fields");
            let kind = match module.types[member.ty].inner {
                TypeInner::Scalar(Scalar::U32) => "u32",
                TypeInner::Scalar(Scalar::I32) => "i32",
                TypeInner::Scalar(Scalar::F32) => "f32",
                _ => return Err(format!("{file}: parameter {name}: u32, i32 or f32 is expected")),
            };
            if end != 4 * words {
                return Err(format!("{file}: parameter {name}: padding follows, which Rust's layout has not"));
            }
            writeln!(fields, "pub {name}: {kind},").unwrap();
        }
        // A kernel that is given another one's `Params` leaves its own unused.
        let attributes = "#[allow(dead_code)]\n#[repr(C)]\n#[derive(Clone, Copy, bytemuck::NoUninit)]";
        Ok(format!("{attributes}\npub struct Params {{\n{fields}}}\n"))
    }

    /// The module's named u32 constants.
    fn constants(module: &Module) -> String {
        let value = |init| match module.global_expressions[init] {
            Expression::Literal(Literal::U32(value)) => Some(value),
            _ => None,
        };
        let line = |(_, constant): (_, &naga::Constant)| {
            let (name, value) = (constant.name.as_deref()?, value(constant.init)?);
            Some(format!("#[allow(dead_code)]\npub const {name}: u32 = {value};\n"))
        };
        module.constants.iter().filter_map(line).collect()
    }
}
