"""`sluice root`: what an import makes, and how it is used and deleted."""

import io
import os
import shutil
import subprocess
import tarfile

import small_root
from roots import RootCase, made


class ImportedRoots(RootCase):
    def root_command(self, *arguments, status=0):
        run = self.sluice("root", *arguments)
        self.assertEqual(run.status, status, run)
        return run

    def archive_of(self, root, name="root.tar"):
        path = f"{self.workspace}-{name}"
        with tarfile.open(path, "w") as archive:
            archive.add(root, ".")
        self.own(path)
        self.addCleanup(os.unlink, path)
        return path

    def store(self):
        folder = f"{self.data}/sluice/roots"
        return sorted(os.listdir(folder)) if os.path.exists(folder) else []

    def test_an_imported_archive_is_a_root_by_its_name(self):
        archive = self.archive_of(made("small", small_root.make))
        self.root_command("import", "mine", archive)
        self.assertEqual(self.root_command("list").out, "mine\n")
        listed = self.root_command("list", "--json").json()
        self.assertEqual([entry["name"] for entry in listed], ["mine"])
        self.assertIn("NAME=small", self.inside("mine", "cat /etc/os-release").out)
        run = self.overlay("mine", "id -u; echo x >/etc/x && cat /etc/x")
        self.assertEqual(run.out.split(), ["0", "x"], run)
        run = self.root_command("import", "mine", archive, status=2)
        self.assertIn("there is a root 'mine' already", run.err)
        run = self.inside("mein", "true", status=125)
        self.assertIn("imported are: mine", run.err, run)
        self.root_command("delete", "mine")
        self.assertEqual(self.root_command("list").out, "")
        self.assertEqual(self.store(), [])
        self.assertIn("there is no root 'mine'", self.root_command("delete", "mine", status=2).err)

    def test_an_imported_directory_is_a_copy(self):
        root = self.small()
        os.chmod(f"{root}/etc/passwd", 0o600)
        self.root_command("import", "copy", root)
        shutil.rmtree(root)
        self.assertIn("NAME=small", self.inside("copy", "cat /etc/os-release").out)

    def test_an_archive_comes_in_on_standard_input_and_compressed(self):
        archive = self.archive_of(made("small", small_root.make))
        with open(archive, "rb") as file:
            process = self.start(self.command("root", "import", "piped", "-"), stdin=file)
            self.assertEqual(self.finish(process).status, 0)
        subprocess.run(["gzip", "-k", archive], check=True, timeout=60)
        self.addCleanup(os.unlink, archive + ".gz")
        self.own(archive + ".gz")
        self.root_command("import", "zipped", archive + ".gz")
        self.assertEqual(self.store(), ["piped", "zipped"])

    def test_a_tar_writes_nowhere_but_into_its_root(self):
        """'..', absolute names, links out of it followed by files through them, TAR_OPTIONS."""
        outside = f"{self.home}/outside"
        os.makedirs(outside, exist_ok=True)
        self.own(outside)
        victim = self.write(f"{outside}/victim", "untouched\n")

        def entry(name, **fields):
            info = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(info, field, value)
            return info

        hostile = {
            "dots": [(entry("usr/../../../../../../../.." + outside + "/left"), b"x")],
            "absolute": [(entry(outside + "/left"), b"x")],
            "link": [(entry("out", type=tarfile.SYMTYPE, linkname=outside), b""),
                     (entry("out/left"), b"x"), (entry("out/victim"), b"x")],
            "hardlink": [(entry("h", type=tarfile.LNKTYPE, linkname=victim), b""),
                         (entry("h"), b"overwritten")],
            "device": [(entry("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0), b"")],
        }  # fmt: skip
        self.environment["TAR_OPTIONS"] = "--absolute-names --keep-directory-symlink"
        for name, entries in hostile.items():
            path = f"{self.workspace}-{name}.tar"
            self.addCleanup(os.unlink, path)
            with tarfile.open(path, "w") as archive:
                archive.addfile(entry("usr", type=tarfile.DIRTYPE, mode=0o755))
                for info, content in entries:
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
            self.own(path)
            with self.subTest(name):
                run = self.sluice("root", "import", name, path)
                self.assertEqual(os.listdir(outside), ["victim"], run)
                with open(victim) as file:
                    self.assertEqual(file.read(), "untouched\n", run)
                if name in ("dots", "device", "hardlink"):
                    self.assertEqual(run.status, 2, run)
                    self.assertIn("nothing was imported", run.err)
                    self.assertNotIn(name, self.store())

    def test_a_broken_archive_leaves_nothing(self):
        whole = self.archive_of(made("small", small_root.make))
        with open(whole, "rb") as file:
            half = file.read(os.path.getsize(whole) // 2)
        cut = f"{self.workspace}-cut.tar"
        with open(cut, "wb") as file:
            file.write(half)
        self.own(cut)
        self.addCleanup(os.unlink, cut)
        empty = self.archive_of(self.workspace, "no-root.tar")
        for path, sentence in ((cut, "nothing was imported"), (empty, "there is no /usr and no /bin"),
                               ("/nowhere.tar", "cannot find")):  # fmt: skip
            run = self.root_command("import", "broken", path, status=2)
            self.assertIn(sentence, run.err, run)
            self.assertEqual(self.store(), [])

    def test_an_import_that_was_killed_is_cleared_away_by_the_next(self):
        reader, writer = os.pipe()
        process = self.start(self.command("root", "import", "cut", "-"), stdin=reader)
        os.close(reader)
        os.write(writer, b"\0")
        folder = f"{self.data}/sluice/roots"
        while process.poll() is None and not (os.path.exists(folder) and os.listdir(folder)):
            pass
        process.kill()
        self.finish(process)
        os.close(writer)
        self.assertEqual(len(self.store()), 1)
        self.assertEqual(self.root_command("list").out, "")
        self.root_command("import", "whole", self.archive_of(made("small", small_root.make)))
        self.assertEqual(self.store(), ["whole"])

    def test_a_root_in_use_is_not_deleted(self):
        self.root_command("import", "busy", self.archive_of(made("small", small_root.make)))
        line = self.run_line("bash", "-c", "echo on; read line", options=["--root", "busy"])
        process = self.start(self.command(*line), stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"on\n")
        self.assertIn("the root 'busy' is in use", self.root_command("delete", "busy", status=2).err)
        self.assertEqual(self.finish(process, stdin=b"\n").status, 0)
        self.root_command("delete", "busy")

    def test_names_and_places_that_are_none_are_refused(self):
        archive = self.archive_of(made("small", small_root.make))
        for name in ("host", "../up", ".hidden", "a/b", "", "x" * 64):
            with self.subTest(name):
                self.root_command("import", name, archive, status=2)
        os.makedirs(f"{self.data}/sluice/roots")
        for folder in (f"{self.data}/sluice", f"{self.data}/sluice/roots"):
            self.own(folder)
        os.chmod(f"{self.data}/sluice/roots", 0o777)
        run = self.root_command("import", "mine", archive, status=2)
        self.assertIn("can be written by somebody else", run.err, run)
        run = self.run_agent("true", options=["--workspace", f"{self.data}/sluice"], status=125)
        self.assertIn("the place of imported roots", run.err, run)
