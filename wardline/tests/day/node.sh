# A small tool in JavaScript. needs: node npm
set -e
mkdir page && cd page
npm init -y > /dev/null
printf 'const http = require("http"); const { execFileSync } = require("child_process");\nhttp.createServer((q, a) => a.end(execFileSync("date"))).listen(8098, "127.0.0.1", function () { http.get("http://127.0.0.1:8098", r => { r.resume(); r.on("end", () => this.close()); }); });\n' > server.js
node server.js
node -e 'console.log(process.version)'
