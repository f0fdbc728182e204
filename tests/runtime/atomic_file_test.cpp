#include <caracal/runtime/atomic_file.h>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <caracal/tests/loaders/loaders_testing.h>

namespace caracal {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::TemporaryDirectory;

TEST(AtomicFiles, AppearWholeOrNotAtAll) {
  TemporaryDirectory dir;
  {
    AtomicFile file(dir / "x");
    file.write("half", 4);
  }
  EXPECT_TRUE(fs::is_empty(dir.path));
  {
    AtomicFile file(dir / "x");
    file.write("who", 3);
    file.write("le", 2);
    EXPECT_FALSE(fs::exists(dir / "x"));
    file.commit();
  }
  EXPECT_EQ(testing::read_file(dir / "x"), "whole");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path), {}), 1);
  expect_error(ErrorCode::not_found, {"nowhere/x", "create"}, [&] { AtomicFile file(dir / "nowhere/x"); });
}

TEST(AtomicFiles, ReplaceOnlyRegularFiles) {
  TemporaryDirectory dir;
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  fs::create_directory(dir / "folder");
  fs::create_symlink("pipe", dir / "link_to_pipe");
  fs::create_symlink("nothing", dir / "link_to_nothing");
  for (std::string name : {"pipe", "link_to_pipe"}) {
    expect_error(ErrorCode::io, {name, "a device, pipe or socket"}, [&] { AtomicFile file(dir / name); });
  }
  if (::mknod((dir / "full").c_str(), S_IFCHR | 0666, makedev(1, 7)) == 0) {  // root, as in a container
    expect_error(ErrorCode::io, {"full", "a device, pipe or socket"}, [&] { AtomicFile file(dir / "full"); });
    EXPECT_TRUE(fs::is_character_file(dir / "full"));
    fs::remove(dir / "full");
  }
  expect_error(ErrorCode::io, {"folder", "a directory"}, [&] { AtomicFile file(dir / "folder"); });
  expect_error(ErrorCode::not_found, {"link_to_nothing"}, [&] { AtomicFile file(dir / "link_to_nothing"); });
  expect_error(ErrorCode::io, {"too long"}, [&] { AtomicFile file(dir / std::string(300, 'x')); });
  EXPECT_TRUE(fs::is_fifo(dir / "pipe"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path), {}), 4);
}

TEST(AtomicFiles, KeepLinksAndModes) {
  TemporaryDirectory dir;
  testing::write_file(dir / "real/x", "old");
  ASSERT_EQ(::chmod((dir / "real/x").c_str(), 0640), 0);
  fs::create_symlink("real/x", dir / "link");
  AtomicFile file(dir / "link");
  file.write("new", 3);
  file.commit();
  EXPECT_TRUE(fs::is_symlink(dir / "link"));
  EXPECT_EQ(testing::read_file(dir / "real/x"), "new");
  EXPECT_EQ(fs::status(dir / "real/x").permissions(), fs::perms(0640));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir / "real"), {}), 1);
}

}  // namespace
}  // namespace caracal
