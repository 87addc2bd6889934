-- sysbench's oltp_read_write or oltp_write_only, with a line for each transaction that was committed: when it began and when
-- its commit was answered, in microseconds of the system's clock.

local ffi = require("ffi")
ffi.cdef([[
typedef struct { long seconds, nanoseconds; } remora_instant;
int clock_gettime(int clock, remora_instant *at);
]])

require(os.getenv("REMORA_SYSBENCH_TEST"))

local at = ffi.new("remora_instant")
local function now()
   ffi.C.clock_gettime(0, at)
   return tonumber(at.seconds) * 1000000 + math.floor(tonumber(at.nanoseconds) / 1000)
end

local play, init, done = event, thread_init, thread_done
local out

function thread_init()
   init()
   out = assert(io.open(string.format("%s/%d.events", os.getenv("REMORA_SYSBENCH_OUT"), sysbench.tid), "w"))
end

function event()
   local began = now()
   play()
   out:write(string.format("%.0f %.0f\n", began, now()))
end

function thread_done()
   out:close()
   done()
end
