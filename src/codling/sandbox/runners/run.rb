# Runs main.rb and its tests, and gives back the key (descriptor 4 to 3) if all have passed. The key is a local variable,
# which code that is loaded has no binding of; the assertions cannot be replaced.
require "test/unit"
require "test/unit/autorunner"

lambda do
  key = IO.for_fd(4).read
  runner = Test::Unit::AutoRunner.method(:run)
  Test::Unit::AutoRunner.need_auto_run = false
  Test::Unit::Assertions.freeze
  load "./main.rb"
  good = runner.call(false, nil, [])
  IO.for_fd(3, "w").write(key) if good == true
  exit(good == true)
end.call
