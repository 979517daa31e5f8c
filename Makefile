# dlens: see README.md. `make` builds, `make test` tests, `make demo` shows.
#
# Variables: CROSS=aarch64-linux-gnu- (compile for another machine)
#            CC=gcc|clang  OMP=1|0 (OpenMP)  SANITIZE=address,undefined
#            BUILD=folder of objects  PREFIX, DESTDIR (install)
#            LODEPNG_SRC=a lodepng.cpp of your own (lodepng.h beside it), where the distribution
#            has no liblodepng

ifeq ($(origin CC),default)
CC      := $(CROSS)gcc
endif
ifeq ($(origin CXX),default)
CXX     := $(CROSS)g++
endif
ifneq ($(CROSS),)
LD      := $(CROSS)ld
AR      := $(CROSS)ar
endif
OBJCOPY ?= $(CROSS)objcopy
BUILD   ?= build
PREFIX  ?= /usr/local
OMP     ?= 1
CFLAGS  ?= -O3 -g
PKG     ?= pkg-config

VERSION := $(shell sed -n 's/^.define DLENS_VERSION "\(.*\)"/\1/p' include/dlens.h)

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
# -ffp-contract=off: an a*b+c is fused only where the code asks for it, so results do not depend
# on the compiler.
DEFS    := -Iinclude -Isrc -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -DUTF8PROC_EXPORTS
BASE     = -std=c99 -fPIC -fvisibility=hidden -ffp-contract=off $(WARN) $(DEFS) $(EXTRA) -MMD -MP
LIBS    := -lcjson -lutf8proc -lz -lm -ldl
ifeq ($(OMP),1)
EXTRA   += -fopenmp
LIBS    += -fopenmp
else
EXTRA   += -Wno-unknown-pragmas
endif
ifneq ($(SANITIZE),)
EXTRA   += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LIBS    += -fsanitize=$(SANITIZE)
endif

SOURCES := $(sort $(wildcard src/*/*.c))
APP     := $(filter src/app/%,$(SOURCES))
LIB     := $(filter-out src/app/%,$(SOURCES))
OBJ      = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(1))
PAGES   := $(sort $(wildcard src/*/*.js src/*/*.css))
LIBOBJ  := $(call OBJ,$(LIB)) $(PAGES:src/%=$(BUILD)/obj/%.o) $(BUILD)/obj/out/lodepng_c.o
APPOBJ  := $(call OBJ,$(APP))
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/test_*.c)))

ifeq ($(LODEPNG_SRC),)
LIBS    += -llodepng -lstdc++
else
DEFS    += -I$(patsubst %/,%,$(dir $(LODEPNG_SRC)))
endif

# Where program and libraries are put: the folder itself, or with another BUILD that folder.
TOP     := $(if $(filter build,$(BUILD)),.,$(BUILD))
PROGRAM := $(TOP)/dlens

all: $(PROGRAM) $(TOP)/libdlens.a $(TOP)/libdlens.so

# `make V=1` shows the commands.
ifeq ($(V),1)
say      =
Q       :=
else
say      = @echo "  $(1) $@"
Q       := @
endif

# ---- objects -------------------------------------------------------------------------------

# Only the files named after an instruction set are compiled for it; they are called only where
# the processor has it.
ISA_FLAGS :=
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
$(BUILD)/obj/kernels/avx2.o:   ISA_FLAGS := -mavx2 -mfma -mf16c
AVX512  := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
$(BUILD)/obj/kernels/avx512.o: ISA_FLAGS := $(AVX512)
$(BUILD)/obj/kernels/avx512_bf16.o: ISA_FLAGS := $(AVX512) -mavx512bf16
$(BUILD)/obj/kernels/amx.o $(BUILD)/obj/kernels/amx_f32.o: ISA_FLAGS := $(AVX512) -mavx512bf16 -mamx-tile -mamx-bf16
endif

$(BUILD)/obj/%.o: src/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) $(ISA_FLAGS) -c -o $@ $<

# Where bundled models lie once installed.
DATADIR := $(PREFIX)/share/dlens
$(BUILD)/obj/family/bundled.o: DEFS += -DDLENS_DATADIR='"$(DATADIR)"'
$(BUILD)/obj/family/bundled.o: $(BUILD)/datadir

# What objects are made with, kept in files that change when it changes: all is then made anew.
$(BUILD)/flags:   STAMP := $(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) $(LODEPNG_SRC)
$(BUILD)/datadir: STAMP := $(DATADIR)
$(BUILD)/flags $(BUILD)/datadir: FORCE
	@mkdir -p $(@D)
	@echo '$(STAMP)' | cmp -s - $@ || echo '$(STAMP)' > $@
FORCE:

# Debian compiles lodepng as C++: one file of forwards (see its head), or a source of your own.
ifeq ($(LODEPNG_SRC),)
$(BUILD)/obj/out/lodepng_c.o: src/out/lodepng_c.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CXX) -fPIC -O2 -Wall -Wextra -Isrc -MMD -MP -c -o $@ $<
else
$(BUILD)/obj/out/lodepng_c.o: $(LODEPNG_SRC) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -fPIC -O2 -x c -c -o $@ $<
endif

# Scripts and styles of the reports: study/report.js becomes `const char *const report_js[]`, its
# lines ended by NULL.
define embed
@mkdir -p $(@D)
$(call say,EMBED)
$(Q){ echo '#include <stddef.h>'; echo 'extern const char *const $(subst .,_,$(notdir $<))[];'; \
    echo 'const char *const $(subst .,_,$(notdir $<))[] = {'; \
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/"&\\n",/' $<; echo 'NULL};'; } > $(@:.o=.c)
$(Q)$(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) -c -o $@ $(@:.o=.c)
endef
$(BUILD)/obj/%.js.o: src/%.js $(BUILD)/flags
	$(embed)
$(BUILD)/obj/%.css.o: src/%.css $(BUILD)/flags
	$(embed)

# ---- library and program -------------------------------------------------------------------

# One relocatable object whose internal names are local, so that a program that links the archive
# meets only the names of dlens.h.
$(TOP)/libdlens.a: $(LIBOBJ)
	$(call say,AR)
	$(Q)$(LD) -r -o $(BUILD)/libdlens.o $(LIBOBJ)
	$(Q)$(OBJCOPY) --localize-hidden $(BUILD)/libdlens.o
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(BUILD)/libdlens.o

$(TOP)/libdlens.so: $(LIBOBJ)
	$(call say,LD)
	$(Q)$(CC) -shared -Wl,-soname,libdlens.so.0 $(LDFLAGS) -o $@ $(LIBOBJ) $(LIBS)

$(PROGRAM): $(APPOBJ) $(LIBOBJ)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(APPOBJ) $(LIBOBJ) $(LIBS)

# ---- tests ---------------------------------------------------------------------------------

# A C test links the objects themselves, so that it reaches inside the library.
$(BUILD)/tests/%: tests/%.c $(LIBOBJ)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(BASE) $(CPPFLAGS) -Itests $(CFLAGS) $(LDFLAGS) -o $@ $< $(LIBOBJ) $(LIBS) -lcmocka

# Times single kernels: see bench/README.md.
$(BUILD)/bench/kernels: bench/kernels.c $(LIBOBJ)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(LIBOBJ) $(LIBS)

test: all $(TESTS)
	@BUILD=$(BUILD) DLENS=$(PROGRAM) tests/run

# The command line's tests and the demo use the program itself.
demo:
	@tools/setup
	@$(MAKE) --no-print-directory all
	@tools/demo

bench: all
	$(PROGRAM) bench

conformance: all
	tools/reference/conformance.sh

# Needs root and Debian or Ubuntu; says what it installs, and removes it again.
slurm-check: all
	@DLENS=$(PROGRAM) tools/slurm/check

asan:
	$(MAKE) BUILD=build-asan SANITIZE=address,undefined CFLAGS="-O1 -g" test

# ---- installation --------------------------------------------------------------------------

DEST := $(DESTDIR)$(PREFIX)

install: all
	install -d "$(DEST)/bin" "$(DEST)/lib/pkgconfig" "$(DEST)/include" "$(DEST)/share/dlens"
	install -m 755 $(PROGRAM) "$(DEST)/bin/dlens"
	install -m 644 $(TOP)/libdlens.a "$(DEST)/lib/libdlens.a"
	install -m 755 $(TOP)/libdlens.so "$(DEST)/lib/libdlens.so.0"
	ln -sf libdlens.so.0 "$(DEST)/lib/libdlens.so"
	install -m 644 include/dlens.h "$(DEST)/include/dlens.h"
	cp -R weights "$(DEST)/share/dlens/"
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' \
	    'Name: dlens' 'Description: the Diffusion Lens' 'Version: $(VERSION)' \
	    'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -ldlens' 'Libs.private: $(LIBS)' \
	    > "$(DEST)/lib/pkgconfig/dlens.pc"

uninstall:
	rm -rf "$(DEST)/bin/dlens" "$(DEST)"/lib/libdlens.* "$(DEST)/include/dlens.h" \
	    "$(DEST)/share/dlens" "$(DEST)/lib/pkgconfig/dlens.pc"

-include $(patsubst %.o,%.d,$(LIBOBJ) $(APPOBJ)) $(TESTS:=.d) $(BUILD)/bench/kernels.d

clean:
	rm -rf $(BUILD) $(PROGRAM) $(TOP)/libdlens.a $(TOP)/libdlens.so

.PHONY: all test demo bench conformance slurm-check asan install uninstall clean FORCE
