-- Runs main.lua and gives back the key (descriptor 4 to 3) when its tests, run by luaunit, have passed and it leaves. The key
-- is a local variable; what could read those of others (debug) is taken away, and replaced assertions are found.
local lu = require("luaunit")
local key, out, leave = nil, io.open("/dev/fd/3", "w"), os.exit
do
  local file = io.open("/dev/fd/4", "r")
  key = file:read("a")
  file:close()
end
local good, run, known = false, lu.LuaUnit.run, {}

local function same()
  for name, value in pairs(known) do
    if lu[name] ~= value then return false end
  end
  return true
end

lu.LuaUnit.run = function(...)
  if not same() then error("luaunit has been changed") end
  local status = run(...)
  good = status == 0 and same()
  return status
end
for name, value in pairs(lu) do known[name] = value end
os.exit = function(status, ...)
  if good and codling_last == key and (status == 0 or status == true or status == nil) then
    out:write(key)
    out:flush()
  end
  leave(status, ...)
end
for _, name in ipairs({"getlocal", "getupvalue", "setlocal", "setupvalue", "upvalueid", "upvaluejoin", "getregistry",
                       "sethook", "setmetatable"}) do
  debug[name] = nil
end
local file = io.open("main.lua")
local text = file:read("a")
file:close()
os.remove("main.lua")
-- The last os.exit is that of the tests; where it is reached, the line before shows it.
local head, tail = text:match("^(.*)(os%.exit.*)$")
if head then text = head .. "codling_last = '" .. key .. "' " .. tail end
assert(load(text, "@main.lua"))()
