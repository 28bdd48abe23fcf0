# Everything a developer does here; `make help` lists it. CI runs nothing that is not here.
PYTHON ?= python3
BIN := .venv/bin
COMPOSE ?= docker-compose
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet
SHELL := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help
help: ## 列出所有命令
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F '\t' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: install
install: ## 创建 .venv 并安装开发依赖(含校验值)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements-dev.txt

.PHONY: hooks
hooks: ## 每次提交前自动检查(pre-commit;在 git 仓库里装一次)
	$(BIN)/pre-commit install

.PHONY: run
run: ## 用 .env 和 config.json 启动
	$(BIN)/python main.py

.PHONY: playground
playground: ## 启动演练场(不需要任何账号和服务器)
	$(PYTHON) start.py

.PHONY: db
db: ## 建库并迁移到最新的表结构
	$(BIN)/python app/utils/database_init.py

.PHONY: up
up: ## 用 Docker 启动全部服务
	$(COMPOSE) up -d

.PHONY: down
down: ## 停止 Docker 里的全部服务(保留数据)
	$(COMPOSE) down

.PHONY: logs
logs: ## 跟随应用日志(Docker)
	$(COMPOSE) logs -f app

.PHONY: test
test: ## 运行全部测试
	$(BIN)/python -m pytest -n auto --dist worksteal tests/

.PHONY: chaos
chaos: ## 全部故障场景的小规模(约十分钟)
	$(BIN)/python -m pytest -m "whole or not whole" tests/acceptance/test_chaos.py

.PHONY: unit
unit: ## 只运行最快的测试
	$(BIN)/python -m pytest tests/unit -q

.PHONY: check
check: lint types imports files spelling ## 全部静态检查

.PHONY: lint
lint: ## ruff:规则和格式
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: format
format: ## ruff:自动修复和格式化
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: ## mypy strict
	$(BIN)/mypy

.PHONY: imports
imports: ## 模块之间的方向(import-linter)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports

.PHONY: files
files: ## YAML、Dockerfile、docker-compose.yml、CI 工作流
	$(BIN)/yamllint --strict .
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml

.PHONY: spelling
spelling: ## codespell:英文拼写
	$(BIN)/codespell

.PHONY: docs
docs: ## 重新生成 README 里的设置表
	$(BIN)/python -m app.cli settings --into README.md

.PHONY: screenshots
screenshots: ## 重新拍 docs/images 里的图(需要 Chromium)
	SCREENSHOTS=docs/images $(BIN)/python -m pytest -q -k pictures tests/e2e/test_console_looks.py

.PHONY: lock
lock: ## 按 pyproject.toml 重新锁定五个 requirements 文件
	$(LOCK) pyproject.toml --group test -o requirements.txt
	$(LOCK) pyproject.toml -c requirements.txt -o requirements-runtime.txt
	$(LOCK) --group pyproject.toml:e2e -c requirements.txt -o requirements-e2e.txt
	$(LOCK) --group pyproject.toml:otel -c requirements.txt -o requirements-otel.txt
	$(LOCK) pyproject.toml --group dev -c requirements.txt -c requirements-otel.txt -o requirements-dev.txt

.PHONY: chroot-check
chroot-check: ## 在只含镜像内容的只读 chroot 里运行(需要 root)
	$(BIN)/python tests/integration/container_chroot.py

.PHONY: clean
clean: ## 删除缓存和测试产物(不动数据、日志和 .venv)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache test-results
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
