-- wrk's requests (head and body in one packet) and its summary as one line of JSON.
-- Environment: LOAD_TARGETS, a file with a line `HOST PATH` for each request, which are sent in turn; LOAD_BODY.
local targets = {}
for line in io.lines(os.getenv("LOAD_TARGETS")) do
  local host, path = line:match("^(%S+) (%S+)$")
  targets[#targets + 1] = {host = host, path = path}
end

wrk.method = "POST"
wrk.path = targets[1].path
wrk.body = os.getenv("LOAD_BODY")
wrk.headers["Host"] = targets[1].host
wrk.headers["Content-Type"] = "application/json"

if #targets > 1 then  -- else wrk sends the one request without asking, which is cheaper
  local requests, turn = {}, 0

  function init()
    for i, target in ipairs(targets) do
      wrk.headers["Host"] = target.host
      requests[i] = wrk.format(nil, target.path)
    end
  end

  function request()
    turn = turn % #requests + 1
    return requests[turn]
  end
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "max_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
