package verdict;

import java.util.Map;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.email.UAX29URLEmailTokenizer;
import org.apache.lucene.analysis.miscellaneous.RemoveDuplicatesTokenFilter;
import org.apache.lucene.analysis.pattern.PatternCaptureGroupTokenFilter;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.index.analysis.AbstractTokenFilterFactory;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.index.analysis.TokenizerFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.Plugin;

/**
 * What the index of API keys needs to analyse the e-mail addresses of users, of whom these tests have none. The test
 * server lacks the module that has it; Lucene, which does the work, is there.
 */
public class EmailAnalysis extends Plugin implements AnalysisPlugin {
    @Override
    public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
        return Map.of(
            "pattern_capture", (index, environment, name, settings) -> new Captures(name, settings),
            "unique", (index, environment, name, settings) -> new Unique(name));
    }

    @Override
    public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
        return Map.of(
            "uax_url_email", (index, environment, name, settings) ->
                TokenizerFactory.newFactory(name, UAX29URLEmailTokenizer::new));
    }

    static class Captures extends AbstractTokenFilterFactory {
        private final Pattern[] patterns;
        private final boolean original;

        Captures(String name, Settings settings) {
            super(name);
            patterns = settings.getAsList("patterns").stream().map(Pattern::compile).toArray(Pattern[]::new);
            original = settings.getAsBoolean("preserve_original", true);
        }

        @Override
        public TokenStream create(TokenStream tokens) {
            return new PatternCaptureGroupTokenFilter(tokens, original, patterns);
        }
    }

    static class Unique extends AbstractTokenFilterFactory {
        Unique(String name) {
            super(name);
        }

        @Override
        public TokenStream create(TokenStream tokens) {
            return new RemoveDuplicatesTokenFilter(tokens);
        }
    }
}
