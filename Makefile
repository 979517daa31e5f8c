# dlens: see README.md. `make` builds, `make test` tests, `make demo` shows.
#
# Variables: CC=gcc|clang  BLAS=1|0 (OpenBLAS)  OMP=1|0 (OpenMP)  SANITIZE=address,undefined
#            BUILD=folder of objects  PREFIX, DESTDIR (install)
#            LODEPNG_SRC=a lodepng.c of your own, where the distribution has no liblodepng

ifeq ($(origin CC),default)
CC      := gcc
endif
CXX     ?= g++
BUILD   ?= build
PREFIX  ?= /usr/local
BLAS    ?= 1
OMP     ?= 1
CFLAGS  ?= -O3 -g
PKG     ?= pkg-config

VERSION := $(shell sed -n 's/^.define DLENS_VERSION "\(.*\)"/\1/p' include/dlens.h)

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
# -ffp-contract=off: an a*b+c is fused only where the code asks for it, so results do not depend
# on the compiler.
DEFS    := -Iinclude -Isrc -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -DUTF8PROC_EXPORTS
BASE    := -std=c99 -fPIC -fvisibility=hidden -ffp-contract=off $(WARN) $(DEFS) -MMD -MP
LIBS    := -lcjson -lutf8proc -lz -lm
ifeq ($(BLAS),1)
DEFS    += -DDLENS_BLAS $(shell $(PKG) --cflags openblas 2>/dev/null)
LIBS    += $(or $(shell $(PKG) --libs openblas 2>/dev/null),-lopenblas)
endif
ifeq ($(OMP),1)
BASE    += -fopenmp
LIBS    += -fopenmp
endif
ifneq ($(SANITIZE),)
BASE    += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LIBS    += -fsanitize=$(SANITIZE)
endif

SOURCES := $(sort $(wildcard src/*/*.c))
APP     := $(filter src/app/%,$(SOURCES))
LIB     := $(filter-out src/app/%,$(SOURCES))
OBJ      = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(1))
LIBOBJ  := $(call OBJ,$(LIB)) $(BUILD)/obj/out/lodepng_c.o
APPOBJ  := $(call OBJ,$(APP))
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/test_*.c)))

ifeq ($(LODEPNG_SRC),)
LIBS    += -llodepng -lstdc++
endif

all: dlens libdlens.a libdlens.so

# ---- objects -------------------------------------------------------------------------------

# Only the files named after an instruction set are compiled for it; they are called only where
# the processor has it.
ISA_FLAGS :=
$(BUILD)/obj/kernels/avx2.o:   ISA_FLAGS := -mavx2 -mfma -mf16c
$(BUILD)/obj/kernels/avx512.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) $(ISA_FLAGS) -c -o $@ $<

# Debian compiles lodepng as C++: one file of forwards (see its head), or a lodepng.c of your own.
ifeq ($(LODEPNG_SRC),)
$(BUILD)/obj/out/lodepng_c.o: src/out/lodepng_c.cpp
	@mkdir -p $(@D)
	$(CXX) -fPIC -O2 -Wall -Wextra -Isrc -MMD -MP -c -o $@ $<
else
$(BUILD)/obj/out/lodepng_c.o: $(LODEPNG_SRC)
	@mkdir -p $(@D)
	$(CC) -fPIC -O2 -x c -c -o $@ $<
endif

# ---- library and program -------------------------------------------------------------------

# One relocatable object whose internal names are local, so that a program that links the archive
# meets only the names of dlens.h.
libdlens.a: $(LIBOBJ)
	$(LD) -r -o $(BUILD)/libdlens.o $(LIBOBJ)
	objcopy --localize-hidden $(BUILD)/libdlens.o
	rm -f $@
	$(AR) rcs $@ $(BUILD)/libdlens.o

libdlens.so: $(LIBOBJ)
	$(CC) -shared -Wl,-soname,libdlens.so.0 -o $@ $(LIBOBJ) $(LIBS)

dlens: $(APPOBJ) $(LIBOBJ)
	$(CC) -o $@ $(APPOBJ) $(LIBOBJ) $(LIBS)

# ---- tests ---------------------------------------------------------------------------------

# A C test links the objects themselves, so that it reaches inside the library.
$(BUILD)/tests/%: tests/%.c $(LIBOBJ)
	@mkdir -p $(@D)
	$(CC) $(BASE) -Itests $(CFLAGS) -o $@ $< $(LIBOBJ) $(LIBS) -lcmocka

test: all $(TESTS)
	@BUILD=$(BUILD) tests/run

-include $(patsubst %.o,%.d,$(LIBOBJ) $(APPOBJ)) $(TESTS:=.d)

clean:
	rm -rf $(BUILD) dlens libdlens.a libdlens.so

.PHONY: all test clean
