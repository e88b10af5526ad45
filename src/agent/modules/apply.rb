# Gets a node ready for catalogs, or applies one, with the Puppet that is installed on it. Reads one JSON object from
# standard input; prints the facts of the node, or the report of the run, as JSON. What Puppet itself prints goes to
# standard error.

require 'fileutils'
require 'json'
require 'openssl'
require 'tmpdir'
require 'uri'

answers = $stdout.dup
$stdout.reopen($stderr)
asked = JSON.parse($stdin.read)
cache = asked.fetch('plugin_cache')
FileUtils.mkdir_p(cache, mode: 0o750)
# So that what is not used for long can be told.
FileUtils.touch(cache)
$LOAD_PATH.unshift(File.join(cache, 'lib'))
require 'puppet'
require 'puppet/configurer'
require 'puppet/configurer/plugin_handler'

# Puppet's own state goes to a directory that is gone afterwards; the plugins stay.
def configure(asked, state, cache)
  words = Puppet::Settings::REQUIRED_APP_SETTINGS.flat_map { |name| ["--#{name}", state] }
  Puppet.initialize_settings(words)
  settings = {
    environment: asked.fetch('environment'),
    plugindest: File.join(cache, 'lib'), pluginfactdest: File.join(cache, 'facts.d'),
    localcacert: asked.fetch('ca'), hostcert: asked.fetch('crt'),
    hostprivkey: asked.fetch('key'), hostcrl: asked.fetch('crl'),
    report: false, usecacheonfailure: false, log_level: 'notice',
  }
  settings[:localedest] = File.join(cache, 'locales') if Puppet.settings.valid?(:localedest)
  proxy = asked['proxy'].to_s
  unless proxy.empty?
    uri = URI(proxy)
    settings.merge!(http_proxy_host: uri.host, http_proxy_port: uri.port)
  end
  settings.merge!((asked['apply_options'] || {}).transform_keys(&:to_sym))
  settings.each { |name, value| Puppet[name] = value }
  certificates = pem(asked.fetch('crt')).map { |text| OpenSSL::X509::Certificate.new(text) }
  name = certificates.first.subject.to_a.find { |key, _, _| key == 'CN' }
  Puppet[:certname] = name[1].downcase
  Puppet::Util::Log.newdestination(:console)
end

def pem(path)
  File.read(path).scan(/-----BEGIN (?:CERTIFICATE|X509 CRL)-----.*?-----END (?:CERTIFICATE|X509 CRL)-----/m)
end

def tls(asked)
  certificates = pem(asked.fetch('crt')).map { |text| OpenSSL::X509::Certificate.new(text) }
  Puppet::SSL::SSLProvider.new.create_context(
    cacerts: pem(asked.fetch('ca')).map { |text| OpenSSL::X509::Certificate.new(text) },
    crls: pem(asked.fetch('crl')).map { |text| OpenSSL::X509::CRL.new(text) },
    private_key: OpenSSL::PKey.read(File.read(asked.fetch('key'))),
    client_cert: certificates.first, revocation: Puppet[:certificate_revocation],
  )
end

# Plugins from the first primary server that has them.
def pluginsync(asked, environment)
  failures = asked.fetch('primary_uris').map do |text|
    uri = URI(text)
    Puppet[:server] = uri.host
    Puppet[:serverport] = uri.port
    begin
      session = Puppet.runtime[:http].create_session
      Puppet.override(http_session: session) do
        Puppet::Configurer::PluginHandler.new.download_plugins(environment)
      end
      return
    rescue StandardError => e
      "#{text}: #{e.message}"
    end
  end
  raise "no primary server gives plugins: #{failures.join('; ')}" unless failures.empty?
end

def facts_of(environment)
  Puppet::Node::Facts.indirection.terminus_class = :facter
  Puppet::Node::Facts.indirection.find(Puppet[:certname], environment: environment)
end

def apply(asked, environment)
  catalog = Puppet::Resource::Catalog.from_data_hash(asked.fetch('catalog'))
  catalog.environment = environment.name.to_s
  catalog.environment_instance = environment
  facts = facts_of(environment)
  if defined?(Puppet::Pops::Evaluator::DeferredResolver)
    Puppet::Pops::Evaluator::DeferredResolver.resolve_and_replace(facts, catalog)
  end
  catalog = catalog.to_ral
  catalog.finalize
  options = { catalog: catalog, pluginsync: false }
  Puppet::Configurer.new.run(options)
  options.fetch(:report)
end

status = Dir.mktmpdir do |state|
  configure(asked, state, cache)
  environment = Puppet::Node::Environment.remote(asked.fetch('environment'))
  Puppet.push_context(
    current_environment: environment, environments: Puppet::Environments::Static.new(environment),
    loaders: Puppet::Pops::Loaders.new(environment), ssl_context: tls(asked),
  )
  pluginsync(asked, environment)
  if asked.fetch('action') == 'prep'
    answers.puts(JSON.generate(facts_of(environment).values))
    0
  else
    report = apply(asked, environment)
    answers.puts(JSON.pretty_generate(report.to_data_hash))
    report.exit_status == 1 ? 1 : 0
  end
end
answers.close
exit status
