# The tool chain and the servers of the tests for people with Nix: `nix develop`, then `npm start` or `npm test`;
# `nix run` starts the desk from a checkout. The packages that npm brings hold programs built for ordinary Linux, hence
# the shell with the usual folders there. Nix has no package of clamav-testfiles; `npm test` says so where it is missing.
# scripts/test/Flake.test.ts holds the versions here to those of the project. Check the syntax after an edit with
# `nix-instantiate --parse flake.nix` (in Debian: the package nix-bin), the rest with `nix flake check`.
{
  description = "Holdfast, a customer support desk for your own machines";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs =
    { nixpkgs, ... }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forEachSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});

      tools = pkgs: [
        pkgs.nodejs_24
        pkgs.pnpm
        pkgs.postgresql_18
        pkgs.redis
        pkgs.rabbitmq-server
        pkgs.erlang
        pkgs.clamav
        pkgs.poppler-utils
        pkgs.git
      ];

      # What the means of failure are made of, and the browser of the page's tests.
      faultTools = pkgs: [
        pkgs.iproute2
        pkgs.util-linux
        pkgs.perl
        pkgs.e2fsprogs
        pkgs.strace
        pkgs.haproxy
        pkgs.openssl
        pkgs.libfaketime
        pkgs.chromium
      ];

      linuxShell = pkgs: (pkgs.buildFHSEnv { name = "holdfast"; targetPkgs = pkgs: tools pkgs ++ faultTools pkgs; runScript = "bash"; }).env;

      start = pkgs: pkgs.writeShellApplication {
        name = "holdfast";
        runtimeInputs = [ pkgs.nodejs_24 ];
        text = ''exec node scripts/bootstrap.mjs start "$@"'';
      };
    in
    {
      devShells = forEachSystem (pkgs: {
        default = if pkgs.stdenv.isLinux then linuxShell pkgs else pkgs.mkShell { packages = tools pkgs; };
      });

      apps = forEachSystem (pkgs: {
        default = {
          type = "app";
          program = nixpkgs.lib.getExe (start pkgs);
        };
      });

      checks = forEachSystem (pkgs: {
        bootstrap = pkgs.runCommand "bootstrap" { nativeBuildInputs = [ pkgs.nodejs_24 ]; } ''
          node --check ${./scripts/bootstrap.mjs}
          touch "$out"
        '';
      });
    };
}
