//! File systems that are too small or cannot be written; taken away when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted folder.
pub struct Mount(PathBuf);

impl Mount {
    /// An ext4 of `mib` MiB in a file beside `at`; a tmpfs of that size where loop devices cannot be had.
    pub fn small(at: &Path, mib: u64) -> Self {
        let image = at.with_extension("img");
        let size = mib << 20;
        File::create(&image).and_then(|file| file.set_len(size)).expect("an image file");
        let ext4 = run("mkfs.ext4", &["-q", "-F", &text(&image)])
            .and_then(|()| run("mount", &["-o", "loop", &text(&image), &text(at)]));
        if let Err(why) = ext4 {
            println!("no loop device ({why}): a tmpfs instead");
            run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", &text(at)])
                .unwrap_or_else(|why| panic!("this test mounts a file system, which needs root: {why}"));
        }
        Self(at.to_owned())
    }

    /// Makes a folder read-only, for root too.
    pub fn read_only(at: &Path) -> Self {
        run("mount", &["--bind", &text(at), &text(at)])
            .unwrap_or_else(|why| panic!("this test mounts a file system, which needs root: {why}"));
        let mount = Self(at.to_owned());
        run("mount", &["-o", "remount,ro,bind", &text(at)]).unwrap_or_else(|why| panic!("{why}"));
        mount
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(why) = run("umount", &[&text(&self.0)]) {
            let _ = run("umount", &["-l", &text(&self.0)]);
            println!("{why}");
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {}: {said}", arguments.join(" "))) }
}
