# A program in C is configured, built, tested, debugged and installed. needs: cc make
set -e
mkdir -p src && cd src
cat > configure <<'SH'
#!/bin/sh
uname -m > /dev/null; hostname > /dev/null; id -u > /dev/null
for header in stdio.h stdlib.h sys/ptrace.h sys/socket.h linux/if_packet.h; do
    printf '#include <%s>\nint main(void) { return 0; }\n' $header > conftest.c
    if cc -o conftest conftest.c && ./conftest; then echo "have $header"; fi
done
rm -f conftest conftest.c
SH
sh ./configure
cat > tool.c <<'C'
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) { for (int i = 1; i < argc; i++) printf("%zu\n", strlen(argv[i])); return 0; }
C
printf 'tool: tool.o\n\tcc -o $@ $<\n%%.o: %%.c\n\tcc -O2 -Wall -c -o $@ $<\ncheck: tool\n\t./tool abc | grep -qx 3\ninstall: tool\n\tinstall -D -m755 tool $(DESTDIR)/usr/local/bin/tool\nclean:\n\trm -f tool *.o\n' > Makefile
make -j2 check
make install
tool one two
# In a temporary folder, as build systems do.
cp -r . /tmp/build-tool && make -C /tmp/build-tool clean check
ar rcs libtool.a tool.o && nm libtool.a > /dev/null && strip tool && objdump -d tool > /dev/null
if command -v strace > /dev/null; then strace -c -o /dev/null ./tool x; fi
if command -v gdb > /dev/null; then gdb -q -batch -ex run -ex bt ./tool > /dev/null 2>&1 || true; fi
tar czf ../tool-1.0.tar.gz . && cd .. && mkdir unpacked && tar xzf tool-1.0.tar.gz -C unpacked
