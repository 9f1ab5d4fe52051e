# A thin layer over `swift build`. BOARD picks a folder under board/: its triple, tool set, sysroot and budget.
#
#   make [BOARD=NAME]     build/NAME/lifeline, stripped; its symbols beside it
#   make demo             the channel shown in throw-away namespaces (root)
#   make lab              the same network, kept up, with a shell into each node (root)
#   make test             everything, at most 15 minutes (root)
#   make test-unit        what needs no root, 2 minutes
#   make soak             the long runs
#   make bench [CUTS=N]   measurements beside peers that are installed; N failures of each kind
#   make install DESTDIR= the binary and its personalities' links
#   make clean
BOARD ?= x86_64
include board/$(BOARD)/board.mk

SWIFT ?= swift
PREFIX ?= /usr
LAB_ARGUMENTS ?=
# Failures of each kind in `make bench`; from 50 on in a grid and between components too.
CUTS ?= 10
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)$(shell \
  git diff --quiet HEAD -- Sources Package.swift 2>/dev/null || echo -dirty)
OBJCOPY := $(shell command -v llvm-objcopy || echo "$$(dirname "$$(readlink -f "$$(command -v $(SWIFT))")")/llvm-objcopy")

SCRATCH := .build-$(BOARD)
OUTPUT := build/$(BOARD)
# Both modes refuse warnings and imports that the package description does not declare.
STRICT := --explicit-target-dependency-import-check error -Xswiftc -warnings-as-errors -Xcc -Wall -Xcc -Wextra -Xcc -Werror
# Every Swift file's object carries its own copies of generic code, all in one section: only the link-time optimizer drops
# the spare ones.
# Smaller at link time: sections nothing refers to, functions that are the same, code sequences that repeat (the machine
# outliner), and the unwind tables, which nothing reads (a fifth of the image).
LINK_SMALL := $(addprefix -Xlinker ,--gc-sections --icf=all -O2 -mllvm -enable-machine-outliner=always -mllvm -machine-outliner-reruns=2 -mllvm -inline-threshold=5 \
  --no-eh-frame-hdr -T board/no-unwind-tables.ld)
EMBEDDED_BUILD := EMBEDDED=1 LIFELINE_COMMIT=$(COMMIT) $(SWIFT) build -c release --scratch-path $(SCRATCH) \
  --product Lifeline --disable-local-rpath --experimental-lto-mode full $(if $(TRIPLE),--triple $(TRIPLE)) --toolset board/$(BOARD)/toolset.json \
  -Xswiftc -Osize -Xswiftc -g -Xcc -g -Xcc -Os $(LINK_SMALL) $(STRICT)
HOST_FLAGS := $(STRICT)
LAB := .build/debug/Lab

.PHONY: all binary demo lab bench soak test test-unit install clean lab-tool host-build lint size self-test
.DEFAULT_GOAL := all

all: binary

# SwiftPM decides what is stale; the copy is made anew only when its output changed.
binary:
	@board/setup build
	$(if $(SYSROOT_ARCH),@board/sysroot $(BOARD) $(SYSROOT_ARCH) $(SYSROOT_PACKAGES))
	@echo "building $(OUTPUT)/lifeline ($(COMMIT))"
	@$(EMBEDDED_BUILD)
	@mkdir -p $(OUTPUT)
	@if ! cmp -s $(SCRATCH)/release/Lifeline $(OUTPUT)/.unstripped; then \
	  cp $(SCRATCH)/release/Lifeline $(OUTPUT)/.unstripped && \
	  $(OBJCOPY) --only-keep-debug $(OUTPUT)/.unstripped $(OUTPUT)/lifeline.debug && \
	  (cd $(OUTPUT) && $(OBJCOPY) --strip-all --add-gnu-debuglink=lifeline.debug .unstripped lifeline.new && \
	  mv lifeline.new lifeline); fi
	@echo "$(OUTPUT)/lifeline: $$(wc -c <$(OUTPUT)/lifeline) bytes"

size: binary
	@bytes=$$(wc -c <$(OUTPUT)/lifeline); if [ $$bytes -gt $(SIZE_BUDGET) ]; then \
	  echo "$(OUTPUT)/lifeline: $$bytes bytes, over the budget of $(SIZE_BUDGET)" >&2; exit 1; fi; \
	  board/first-use $(OUTPUT)/lifeline.debug "$(dir $(OBJCOPY))llvm-nm" && \
	  echo "$(OUTPUT)/lifeline: $$bytes of $(SIZE_BUDGET) bytes"

self-test: binary
	@$(if $(EMULATOR),board/setup $(BOARD))
	$(EMULATOR) $(OUTPUT)/lifeline --self-test

lab-tool:
	@board/setup build
	@$(SWIFT) build --product Lab $(HOST_FLAGS)

host-build:
	@board/setup build
	@$(SWIFT) build --build-tests $(HOST_FLAGS)

demo: binary lab-tool
	@board/setup demo
	@$(LAB) demo --binary $(OUTPUT)/lifeline $(LAB_ARGUMENTS)

lab: binary lab-tool
	@board/setup lab
	@$(LAB) up --binary $(OUTPUT)/lifeline $(LAB_ARGUMENTS)

bench: binary
	@board/setup bench
	@$(SWIFT) build -c release --scratch-path .build-lab --product Lab --static-swift-stdlib $(HOST_FLAGS)
	@.build-lab/release/Lab bench --binary $(OUTPUT)/lifeline --cuts $(CUTS) --svg build/repair.svg --json build/repair.json \
	  $(LAB_ARGUMENTS)

soak: binary lab-tool host-build
	@board/setup test
	@$(SWIFT) build -c release --scratch-path .build-lab --product Lab --static-swift-stdlib $(HOST_FLAGS)
	@board/test soak

lint:
	@$(SWIFT) format lint --strict --recursive Sources Tests Package.swift

test:
	@board/test all

test-unit:
	@board/test unit

install: binary
	install -D -m 0755 $(OUTPUT)/lifeline "$(DESTDIR)$(PREFIX)/sbin/lifeline"
	@for name in ma cm ettm verify; do ln -sf lifeline "$(DESTDIR)$(PREFIX)/sbin/$$name"; done

clean:
	rm -rf build .build .build-*
